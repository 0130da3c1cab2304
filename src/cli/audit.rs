//! `trueup audit` and `trueup verify`.

use crate::cli::answers::Answers;
use crate::cli::args::AuditArgs;
use crate::cli::output::Output;
use crate::cli::run;
use crate::error::{Exit, Result};
use crate::report::Report;

/// Says what does not hold; changes nothing.
pub async fn run(args: AuditArgs, output: Output) -> Result<Exit> {
    answer("audit", args, output).await
}

/// Audits again, and adds the health of the clusters.
pub async fn verify(args: AuditArgs, output: Output) -> Result<Exit> {
    answer("verify", args, output).await
}

async fn answer(command: &str, args: AuditArgs, output: Output) -> Result<Exit> {
    let answers = Answers::prepare(&args.subject.format, &args.subject.files.reports, &[], output)?;
    let run::Audited { started_at, inputs, cluster, audits } = run::audited(&args, &answers, output).await?;
    let mut report = Report::new(command, started_at, Some(inputs.playbook), audits);
    if command == "verify" {
        report.add_health(&cluster);
    }
    report.waive(&inputs.waivers);
    Ok(answers.give(report, false))
}
