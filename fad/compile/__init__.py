"""The compiler: a Function goes in; simplify, fuse, plan and emit make a program of native code that comes out."""
