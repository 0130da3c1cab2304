//! The command line: the only place that prints or exits, one file a command.

mod answers;
mod apply;
pub mod args;
mod audit;
mod baseline;
mod config;
mod demo;
mod drift;
mod explain;
mod facts;
mod incidents;
mod inputs;
mod inventory;
mod kept;

mod log;
mod man;
mod output;
mod plan;
mod policy;
mod private;
mod progress;
mod prompt;
mod record;
mod remediate;
mod resume;
mod rollback;
mod run;
mod runs;
mod schedule;
mod waivers;
mod work;

use std::process::ExitCode;

use clap::{CommandFactory as _, Parser as _};

use crate::error::{Exit, Result};
use args::{Cli, Command};

/// Runs the command line and says how it ended.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Usage is exit code 1 here: clap's 2 means findings. Help and version are answers.
            let exit = if error.use_stderr() { Exit::Broken } else { Exit::Compliant };
            // A closed pipe is no reason to fail.
            let _ = error.print();
            return exit.into();
        }
    };
    let output = output::Output::new(cli.no_color);
    log::start(cli.verbose, output.colour_on_stderr());
    match dispatch(cli.command, output) {
        Ok(exit) => exit.into(),
        Err(error) => {
            output.error(&error);
            Exit::Broken.into()
        }
    }
}

fn dispatch(command: Command, output: output::Output) -> Result<Exit> {
    match command {
        Command::Audit(args) => block_on(audit::run(args, output)),
        Command::Verify(args) => block_on(audit::verify(args, output)),
        Command::Plan(args) => block_on(plan::run(args, output)),
        Command::Remediate(args) => block_on(remediate::run(args, output)),
        Command::Apply(args) => block_on(apply::run(args, output)),
        Command::Rollback(args) => block_on(rollback::run(args, output)),
        Command::Resume(args) => block_on(resume::run(args, output)),
        Command::Runs(args) => Ok(runs::run(&args, output)),
        Command::Drift(args) => block_on(drift::run(*args, output)),
        Command::Facts(args) => block_on(facts::run(args, output)),
        Command::Incidents(args) => block_on(incidents::run(args, output)),
        Command::Demo(args) => block_on(demo::run(args, output)),
        Command::Schedule(args) => schedule::run(*args, output),
        Command::Inventory(args) => inventory::run(&args, output),
        Command::Config(args) => config::run(&args, output),
        Command::Explain(args) => explain::run(&args, output),
        Command::Completions { shell } => {
            let mut text = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "trueup", &mut text);
            output.answer(&String::from_utf8_lossy(&text));
            Ok(Exit::Compliant)
        }
        Command::Man { dir } => man::run(dir.as_deref(), output),
    }
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime can be made")
        .block_on(work)
}
