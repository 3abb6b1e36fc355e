"""What Schemathesis does not know by itself: MessagePack, and that nobody wants to wait for events in a test."""

import msgpack
import schemathesis

TYPES = ("application/msgpack", "application/x-msgpack", "application/vnd.msgpack")


@schemathesis.serializer(*TYPES)
def to_msgpack(ctx, value):
    try:
        return msgpack.packb(value)
    except OverflowError:
        # A whole number that MessagePack does not have; as JSON it is refused, too.
        return msgpack.packb("a number beyond 64 bits")


for name in TYPES:

    @schemathesis.deserializer(name)
    def from_msgpack(ctx, response):
        return msgpack.unpackb(response.content)


@schemathesis.hook
def map_query(ctx, query):
    if query and isinstance(query.get("wait"), int) and query["wait"] in range(1, 31):
        query["wait"] = 1
    return query
