"""HTTP/1.1 on the port of a server: calls with JSON, pages, and the way to other wires."""
