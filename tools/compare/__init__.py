"""Real clusters of ZooKeeper, etcd and our centers on loopback, and what is measured on them."""
