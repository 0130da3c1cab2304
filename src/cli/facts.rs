//! `trueup facts`.

use crate::cli::args::{FactsArgs, Files, Subject};
use crate::cli::output::Output;
use crate::cli::progress::Progress;
use crate::cli::{inputs, private, run};
use crate::error::{Exit, Result};
use crate::facts::saved;

/// Reads the facts of hosts and saves them, secrets masked.
pub async fn run(args: FactsArgs, output: Output) -> Result<Exit> {
    let subject = Subject {
        playbook: args.playbook.clone(),
        tags: Vec::new(),
        skip_tags: Vec::new(),
        format: String::new(),
        files: Files::default(),
    };
    let inputs = inputs::read(&subject, &args.reach, output)?;
    let cancel = run::interruptible(output);
    let progress = Progress::new();
    let cluster = run::cluster(&inputs, None, args.reach.forks, &progress, &cancel).await?;
    let mut exit = Exit::Compliant;
    for (host, read) in &cluster {
        match read {
            Ok(facts) => {
                let path = args.save.join(saved::file_name(host));
                private::write(&path, &saved::to_json(facts))?;
                output.answer(&format!("{}\n", path.display()));
            }
            Err(error) => {
                output.say(&format!("{host}: {error}"));
                exit = exit.worst(Exit::Unreachable);
            }
        }
    }
    Ok(if cancel.is_cancelled() { Exit::Interrupted } else { exit })
}
