"""Native code: LLVM IR goes in, machine code in memory and on disk comes out, and threads to run it. Knows nothing of trees."""
