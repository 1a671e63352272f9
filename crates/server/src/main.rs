//! The program `gavel`.

use std::process::ExitCode;

fn main() -> ExitCode {
    gavel::main()
}
