//! The launcher alone, for this crate's tests and benchmarks; the product re-executes itself.

fn main() -> std::process::ExitCode {
    node::launcher::launcher_main(std::env::args_os().skip(1))
}
