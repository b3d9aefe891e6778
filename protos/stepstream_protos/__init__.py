"""The wire between simulators and learners; `v1/stream.proto` documents every field."""

PROTOCOL_VERSION = 2
