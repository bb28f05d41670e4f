//! The program: hands the command line to the library, and what comes of it to the shell.

use std::process::ExitCode;

fn main() -> ExitCode {
    aap::cli::main()
}
