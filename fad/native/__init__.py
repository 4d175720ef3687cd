"""Native code: LLVM IR as text, the machine that runs it, the disk that keeps it, the threads that share it."""
