//! `trueup plan`.

use std::io::Write as _;
use std::path::Path;

use crate::cli::answers::Answers;
use crate::cli::args::PlanArgs;
use crate::cli::output::Output;
use crate::cli::run;
use crate::error::{Diagnostic, Exit, Result};
use crate::plan::Plan;
use crate::report::Report;

/// Says what would change; changes nothing.
pub async fn run(args: PlanArgs, output: Output) -> Result<Exit> {
    let PlanArgs { audit: args, out } = args;
    let playbook = args.subject.playbook.clone();
    let taken: Vec<&Path> = out.iter().map(std::path::PathBuf::as_path).collect();
    let answers = Answers::prepare(&args.subject.format, &args.subject.files.reports, &taken, output)?;
    let run::Audited { started_at, inputs, cluster, audits } = run::audited(&args, &answers, output).await?;
    let plan = run::plan(&inputs, &audits, &cluster, &started_at);
    if let Some(path) = &out {
        if let Some(secret) = plan.secret(&inputs.secrets) {
            return Err(Diagnostic::new(format!("this plan holds a secret ({secret}), so it is not saved"))
                .hint("`trueup remediate` applies it without saving it"));
        }
        save(&plan, path)?;
    }
    let mut report = Report::new("plan", started_at, Some(inputs.playbook), audits);
    report.add_plan(&plan);
    report.waive(&inputs.waivers);
    let exit = answers.give(report, true);
    if let Some(path) = &out {
        let own = playbook.map(|own| format!(" --playbook {}", own.display())).unwrap_or_default();
        output.say(&format!("the plan is saved; apply it with `trueup apply {}{own}`", path.display()));
    }
    Ok(exit)
}

/// Writes a plan whole or not at all, for its owner alone.
fn save(plan: &Plan, path: &Path) -> Result<()> {
    let failed = |error: &dyn std::fmt::Display| {
        Diagnostic::new(format!("`{}` cannot be written: {error}", path.display()))
    };
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(folder).map_err(|error| failed(&error))?;
    serde_json::to_writer_pretty(&mut file, plan).map_err(|error| failed(&error))?;
    file.write_all(b"\n").map_err(|error| failed(&error))?;
    file.as_file().sync_all().map_err(|error| failed(&error))?;
    file.persist(path).map_err(|error| failed(&error.error))?;
    Ok(())
}
