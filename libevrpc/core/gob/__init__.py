"""Go's own encoding of values, `encoding/gob`: what `net/rpc` and its kin speak. Pure."""

from libevrpc.core.gob.encode import EncodedValue, GobWriter, encode_value, natural_schema
from libevrpc.core.gob.limits import GobError, GobTooLongError
from libevrpc.core.gob.schema import Schema, Uint, record_schema, schema_of
from libevrpc.core.gob.stream import GobReader, RawValue

__all__ = [
    "EncodedValue",
    "GobError",
    "GobReader",
    "GobTooLongError",
    "GobWriter",
    "RawValue",
    "Schema",
    "Uint",
    "encode_value",
    "natural_schema",
    "record_schema",
    "schema_of",
]
