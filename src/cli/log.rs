//! The log of `-v`: what the tool does, on standard error.

use tracing_subscriber::EnvFilter;

/// Starts the log: warnings, or more with each `-v`. `TRUEUP_LOG` sets a filter of its own.
pub fn start(verbose: u8, colour: bool) {
    let level = match verbose {
        0 => "warn",
        1 => "trueup=info,warn",
        2 => "trueup=debug,warn",
        _ => "trace",
    };
    let filter = EnvFilter::try_from_env("TRUEUP_LOG").unwrap_or_else(|_| EnvFilter::new(level));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(colour)
        .without_time()
        .init();
}
