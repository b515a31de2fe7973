"""Ops: arrays in, arrays out. One file per idea, each op's specification and its backward together."""
