//! The program: hands the command line to the library and the library's answer to the shell.

fn main() {}
