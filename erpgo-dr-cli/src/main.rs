//! The command line tool `erpgo-dr`: see the library of the same package.

fn main() -> std::process::ExitCode {
    erpgo_dr_cli::run(std::env::args_os())
}
