"""From a Function to machine code: simplify, fuse, plan, emit, program."""
