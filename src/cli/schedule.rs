//! `trueup schedule`: a systemd timer on this machine that runs `trueup drift`.

use std::path::{Path, PathBuf};
use std::process::Command;

use minijinja::{Environment, UndefinedBehavior, Value, context};

use crate::cli::args::{InstallArgs, ScheduleAction, ScheduleArgs, ScheduleName, Subject};
use crate::cli::kept::{self, Verdict};
use crate::cli::output::Output;
use crate::cli::{baseline, inputs};
use crate::error::{Diagnostic, Exit, Result};

/// The unit files, as minijinja templates.
const SERVICE: &str = include_str!("../../templates/systemd/schedule.service.j2");
const TIMER: &str = include_str!("../../templates/systemd/schedule.timer.j2");

/// Installs the timer, says how it stands, or takes it away.
pub fn run(args: ScheduleArgs, output: Output) -> Result<Exit> {
    match args.action {
        ScheduleAction::Install(args) => install(&args, output),
        ScheduleAction::Status(name) => status(&Place::of(&name)?, output),
        ScheduleAction::Remove(args) => remove(&Place::of(&args.name)?, args.purge, output),
    }
}

/// Where the units of one schedule are.
struct Place {
    /// Of this user's own systemd, not of the machine's?
    user: bool,
    /// `trueup-drift`
    unit: String,
    folder: PathBuf,
}

impl Place {
    fn of(name: &ScheduleName) -> Result<Self> {
        let user = match name.scope.as_deref() {
            Some(scope) => scope == "user",
            None => !rustix::process::geteuid().is_root(),
        };
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        if name.name.is_empty() || !name.name.chars().all(plain) {
            return Err(Diagnostic::new(format!("`{}` is no name for a unit", name.name))
                .hint("letters, digits, `-` and `_`: --name drift"));
        }
        let folder = if user { config_home()?.join("systemd/user") } else { "/etc/systemd/system".into() };
        Ok(Self { user, unit: format!("trueup-{}", name.name), folder })
    }

    fn service(&self) -> PathBuf {
        self.folder.join(format!("{}.service", self.unit))
    }

    fn timer(&self) -> PathBuf {
        self.folder.join(format!("{}.timer", self.unit))
    }

    /// The words that name this schedule again on the command line.
    fn words(&self) -> (&'static str, String) {
        let name = self.unit.trim_start_matches("trueup-");
        let named = if name == "drift" { String::new() } else { format!(" --name {name}") };
        (if self.user { " --scope user" } else { " --scope system" }, named)
    }

    /// Where `StateDirectory=` is: of a user below XDG_STATE_HOME since systemd 254, below XDG_CONFIG_HOME before.
    fn kept(&self) -> Result<PathBuf> {
        if !self.user {
            return Ok(Path::new("/var/lib").join(&self.unit));
        }
        let newer = match std::env::var_os("XDG_STATE_HOME").filter(|path| !path.is_empty()) {
            Some(path) => PathBuf::from(path),
            None => home()?.join(".local/state"),
        };
        let (newer, older) = (newer.join(&self.unit), config_home()?.join(&self.unit));
        Ok(if newer.is_dir() { newer } else { older })
    }

    /// Asks systemd to do something.
    fn systemctl(&self, words: &[&str]) -> Result<String> {
        let mut command = Command::new("systemctl");
        if self.user {
            command.arg("--user");
        }
        let shown = format!("systemctl {}", words.join(" "));
        let output = command
            .args(words)
            .output()
            .map_err(|error| Diagnostic::new(format!("`{shown}` cannot be run: {error}")))?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        let error = Diagnostic::new(format!("`{shown}` failed: {said}"));
        Err(if self.user {
            error.hint("a user's systemd runs while the user is logged in; `loginctl enable-linger` keeps it running")
        } else {
            error.hint("the machine's units are root's: use sudo, or --scope user")
        })
    }
}

fn home() -> Result<PathBuf> {
    let home = std::env::var_os("HOME").filter(|home| !home.is_empty()).map(PathBuf::from);
    home.ok_or_else(|| Diagnostic::new("HOME is not set, so this user's units cannot be found"))
}

fn config_home() -> Result<PathBuf> {
    match std::env::var_os("XDG_CONFIG_HOME").filter(|path| !path.is_empty()) {
        Some(path) => Ok(path.into()),
        None => Ok(home()?.join(".config")),
    }
}

fn install(args: &InstallArgs, output: Output) -> Result<Exit> {
    let place = Place::of(&args.name)?;
    let reach = &args.reach;
    if reach.ask_pass || reach.ask_become_pass || reach.source.ask_vault_pass {
        return Err(Diagnostic::new("nobody is there to be asked for a password when the timer fires").hint(
            "keys for SSH, NOPASSWD for sudo or `ansible_become_password` in a vault, --vault-password-file",
        ));
    }
    if reach.source.vault_id.iter().any(|id| id.ends_with("@prompt")) {
        return Err(Diagnostic::new("nobody is there to be asked for a vault password when the timer fires")
            .hint("--vault-id LABEL@FILE"));
    }
    if let Some(vars) = reach.extra_vars.iter().find(|vars| !vars.starts_with('@')) {
        let key = vars.split('=').next().unwrap_or_default();
        return Err(Diagnostic::new(format!(
            "`-e {key}=…` would stand in a unit file that everybody may read"
        ))
        .hint("put it into a file: -e @FILE"));
    }
    if place.user && args.run_as.is_some() {
        return Err(Diagnostic::new("--run-as is for the machine's own systemd")
            .hint("leave --scope user out, or --run-as"));
    }
    // Every mistake in the inputs is found now, and not at night.
    let subject = Subject {
        playbook: args.playbook.clone(),
        tags: args.tags.clone(),
        skip_tags: args.skip_tags.clone(),
        format: String::new(),
        files: args.files.clone(),
    };
    inputs::read(&subject, reach, output)?;
    calendar(&args.calendar)?;
    let (service, timer) = units(args, &place)?;
    if args.print {
        output.answer(&format!(
            "# {}\n{service}\n# {}\n{timer}",
            place.service().display(),
            place.timer().display()
        ));
        return Ok(Exit::Compliant);
    }
    write(&place.service(), &service)?;
    write(&place.timer(), &timer)?;
    let name = format!("{}.timer", place.unit);
    place.systemctl(&["daemon-reload"])?;
    place.systemctl(&["enable", &name])?;
    // A changed calendar counts from now.
    place.systemctl(&["restart", &name])?;
    output.answer(&format!("{} is installed; next run: {}\n", name, next(&place)?));
    let folder =
        args.baseline.clone().unwrap_or_else(|| inputs::home(&reach.source.inventory).join("baseline"));
    if baseline::load(&folder)?.is_empty() {
        output.say(
            "there is no baseline yet: `trueup drift --accept` or a verified `trueup remediate` saves one",
        );
    }
    Ok(Exit::Compliant)
}

/// systemd itself knows best what a calendar is, where it is at hand.
fn calendar(text: &str) -> Result<()> {
    match Command::new("systemd-analyze").args(["calendar", text]).output() {
        Ok(answer) if !answer.status.success() => {
            Err(Diagnostic::new(format!("`--calendar {text}` is no calendar of systemd"))
                .hint("hourly, daily, `*:0/15`, `Mon..Fri 06:30`; see systemd.time(7)"))
        }
        _ => Ok(()),
    }
}

/// The texts of the service and the timer.
fn units(args: &InstallArgs, place: &Place) -> Result<(String, String)> {
    let mut words = vec![
        std::env::current_exe()
            .map_err(|error| Diagnostic::new(format!("where trueup is cannot be told: {error}")))?
            .display()
            .to_string(),
    ];
    let mut writes = Vec::new();
    words.extend(arguments(args, &mut writes)?);
    let command = words.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" ");
    // Set by systemd for the folder of StateDirectory=.
    let command = format!("{command} --keep ${{STATE_DIRECTORY}}");
    let agent = match &args.ssh_agent {
        Some(socket) if socket.starts_with("/tmp") => {
            return Err(Diagnostic::new(format!("the agent at `{}` ends with its login", socket.display()))
                .hint("an agent that systemd runs has a socket below /run; a key without a passphrase needs none"));
        }
        Some(socket) => Some(quoted(&format!("SSH_AUTH_SOCK={}", socket.display()))),
        None => None,
    };
    // An agent's socket names the user with %t or %U, which systemd shall expand.
    let agent = agent.map(|text| text.replace("%%", "%"));
    let (scope, named) = place.words();
    let inventory = args.reach.source.inventory.join(", ");
    // What stands in /tmp would be hidden from the service by a /tmp of its own.
    let private_tmp = !words.iter().any(|word| word.starts_with("/tmp/") || word.contains("@/tmp/"));
    let values = context! {
        private_tmp, command, agent, scope, named,
        writes => writes.iter().map(String::as_str).collect::<Value>(),
        user => place.user,
        unit => place.unit.as_str(),
        inventory => specifiers(&inventory),
        run_as => args.run_as.clone().or_else(|| (!place.user).then(invoker).flatten()),
        calendar => args.calendar.as_str(),
        delay => args.random_delay.as_str(),
    };
    let render = |name: &str, text: &str| {
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment
            .render_named_str(name, text, &values)
            .map(|text| text + "\n")
            .map_err(|error| Diagnostic::new(format!("the template of the unit does not render: {error}")))
    };
    Ok((render("service", SERVICE)?, render("timer", TIMER)?))
}

/// Whose keys a timer of the machine uses: of the one who called sudo; root's own otherwise.
fn invoker() -> Option<String> {
    std::env::var("SUDO_USER").ok().filter(|user| !user.is_empty() && user != "root")
}

/// `drift` and its arguments, every path absolute: the timer runs in `/`.
fn arguments(args: &InstallArgs, writes: &mut Vec<String>) -> Result<Vec<String>> {
    let reach = &args.reach;
    let mut words = vec!["drift".to_owned()];
    let mut add = |flag: &str, value: Option<String>| {
        if let Some(value) = value {
            words.push(flag.to_owned());
            words.push(value);
        }
    };
    for inventory in &reach.source.inventory {
        let list = inventory.contains(',') && !Path::new(inventory).exists();
        add("-i", Some(if list { inventory.clone() } else { absolute(Path::new(inventory))? }));
    }
    let each = |paths: &[PathBuf]| paths.iter().map(|path| absolute(path)).collect::<Result<Vec<_>>>();
    for path in each(&reach.source.vault_password_file)? {
        add("--vault-password-file", Some(path));
    }
    for id in &reach.source.vault_id {
        let (label, source) = id.rsplit_once('@').unwrap_or(("", id));
        add("--vault-id", Some(format!("{label}@{}", absolute(Path::new(source))?)));
    }
    for vars in &reach.extra_vars {
        add("-e", Some(format!("@{}", absolute(Path::new(vars.trim_start_matches('@')))?)));
    }
    let limit = match reach.limit.as_deref().map(|limit| (limit, limit.strip_prefix('@'))) {
        Some((_, Some(file))) => Some(format!("@{}", absolute(Path::new(file))?)),
        limit => limit.map(|(limit, _)| limit.to_owned()),
    };
    add("--limit", limit);
    add("--user", reach.user.clone());
    add("--private-key", reach.private_key.as_deref().map(absolute).transpose()?);
    add("--waivers", reach.waivers.as_deref().map(absolute).transpose()?);
    add("--forks", Some(reach.forks.to_string()));
    add("--timeout", Some(reach.timeout.to_string()));
    add("--host-deadline", Some(reach.host_deadline.to_string()));
    add("--tags", Some(args.tags.join(",")).filter(|tags| !tags.is_empty()));
    add("--skip-tags", Some(args.skip_tags.join(",")).filter(|tags| !tags.is_empty()));
    add("--baseline", args.baseline.as_deref().map(whole).transpose()?);
    add("--notify", args.notify.clone());
    for report in &args.files.reports {
        let (form, file) = report.split_once('=').unwrap_or((report, ""));
        let file = whole(Path::new(file))?;
        if let Some(folder) = Path::new(&file).parent() {
            writes.push(quoted(&folder.display().to_string()));
        }
        add("--report", Some(format!("{form}={file}")));
    }
    if let Some(ssh) = &reach.ssh_common_args {
        // It begins with a dash itself.
        words.push(format!("--ssh-common-args={ssh}"));
    }
    if reach.r#become {
        words.push("--become".to_owned());
    }
    if let Some(playbook) = &args.playbook {
        // The name of a built-in playbook is no path.
        let path = if playbook.exists() { absolute(playbook)? } else { playbook.display().to_string() };
        words.push(path);
    }
    Ok(words)
}

fn absolute(path: &Path) -> Result<String> {
    let found = path.canonicalize();
    found
        .map(|path| path.display().to_string())
        .map_err(|error| Diagnostic::new(format!("`{}` cannot be found: {error}", path.display())))
}

/// A path that need not be there yet.
fn whole(path: &Path) -> Result<String> {
    std::path::absolute(path)
        .map(|path| path.display().to_string())
        .map_err(|error| Diagnostic::new(format!("`{}` is no path: {error}", path.display())))
}

/// A word of a command line in a unit (systemd.service(5), "Command lines"): specifiers and variables stay as
/// they are written.
fn quoted(word: &str) -> String {
    let word =
        specifiers(word).replace('\\', r"\\").replace('"', "\\\"").replace('$', "$$").replace('\n', r"\n");
    let plain = |c: char| c.is_ascii_alphanumeric() || "@%+=:,./_-".contains(c);
    if !word.is_empty() && word.chars().all(plain) { word } else { format!("\"{word}\"") }
}

fn specifiers(text: &str) -> String {
    text.replace('%', "%%")
}

/// A unit file, for all to read: it holds no secret.
fn write(path: &Path, text: &str) -> Result<()> {
    use std::io::Write as _;
    use std::os::unix::fs::PermissionsExt as _;
    let folder = path.parent().expect("a unit is in a folder");
    let put = || {
        std::fs::create_dir_all(folder)?;
        let mut file = tempfile::Builder::new()
            .prefix(".trueup-")
            .permissions(std::fs::Permissions::from_mode(0o644))
            .tempfile_in(folder)?;
        file.write_all(text.as_bytes())?;
        file.as_file().sync_all()?;
        // Whatever the umask is: systemd reads it as root, and people look at it.
        file.as_file().set_permissions(std::fs::Permissions::from_mode(0o644))?;
        file.persist(path).map_err(|error| error.error)
    };
    put().map(drop).map_err(|error: std::io::Error| {
        Diagnostic::new(format!("`{}` cannot be written: {error}", path.display()))
            .hint("the machine's units are root's: use sudo, or --scope user")
    })
}

fn installed(place: &Place) -> Result<()> {
    if place.timer().exists() {
        return Ok(());
    }
    Err(Diagnostic::new(format!("no schedule is installed: `{}` is not there", place.timer().display()))
        .hint("`trueup schedule install -i INVENTORY` installs one; --scope tells the two kinds apart"))
}

/// What systemd says about a property of a unit.
fn property(place: &Place, unit: &str, name: &str) -> Result<String> {
    let answer = place.systemctl(&["show", unit, &format!("--property={name}"), "--value"])?;
    Ok(answer.trim().to_owned())
}

fn next(place: &Place) -> Result<String> {
    let next = property(place, &format!("{}.timer", place.unit), "NextElapseUSecRealtime")?;
    Ok(if next.is_empty() { "not planned".to_owned() } else { next })
}

fn status(place: &Place, output: Output) -> Result<Exit> {
    installed(place)?;
    let timer = format!("{}.timer", place.unit);
    let mut lines = vec![
        ("timer", format!("{timer}, {}", property(place, &timer, "ActiveState")?)),
        ("next run", next(place)?),
    ];
    let folder = place.kept()?;
    let verdict = kept::verdict(&folder)?;
    let running = kept::is_running(&folder);
    let mut exit = Exit::Compliant;
    match &verdict {
        None => lines.push(("last run", "none yet".to_owned())),
        Some(verdict) => {
            let (last, code) = told(verdict, running);
            exit = code;
            lines.push(("last run", last));
            if !verdict.verdict.is_empty() {
                lines.push(("verdict", format!("{} since {}", verdict.verdict, verdict.since)));
            }
            lines.push(("report", folder.join("last.json").display().to_string()));
        }
    }
    // A run that failed before it could write anything is known to systemd alone.
    let service = format!("{}.service", place.unit);
    let result = property(place, &service, "Result")?;
    if !matches!(result.as_str(), "success" | "") {
        lines.push(("systemd says", format!("{result}; `journalctl -u {service}` tells more")));
        exit = exit.worst(Exit::Broken);
    }
    for (label, text) in lines {
        output.answer(&format!("{label:<13}{text}\n"));
    }
    Ok(exit)
}

/// How the last run went, and what it exits with.
fn told(verdict: &Verdict, running: bool) -> (String, Exit) {
    let Verdict { started_at, ended_at, exit, trouble, .. } = verdict;
    match (ended_at, exit, trouble) {
        (None, _, _) if running => (format!("under way since {started_at}"), Exit::Compliant),
        (None, _, _) => (format!("{started_at}, and it did not get to its end"), Exit::Broken),
        (Some(ended_at), _, Some(trouble)) => {
            (format!("{ended_at}, could not do its work: {trouble}"), Exit::Broken)
        }
        (Some(ended_at), code, None) => {
            let code = code.unwrap_or_default();
            let exit = [Exit::Compliant, Exit::Findings, Exit::Failed, Exit::Unreachable];
            let exit = exit.into_iter().find(|exit| exit.code() == code).unwrap_or(Exit::Broken);
            (format!("{ended_at}, exit code {code}"), exit)
        }
    }
}

fn remove(place: &Place, purge: bool, output: Output) -> Result<Exit> {
    installed(place)?;
    let (timer, service) = (format!("{}.timer", place.unit), format!("{}.service", place.unit));
    place.systemctl(&["disable", "--now", &timer])?;
    place.systemctl(&["stop", &service])?;
    // Nothing of it is left in systemd's memory, nor when the timer fired last: another timer of this name would
    // make up for runs that were never missed. Old versions cannot forget that, which is no reason to keep the units.
    let _ = place.systemctl(&["reset-failed", &service]);
    let _ = place.systemctl(&["clean", "--what=state", &timer]);
    let gone = |error: std::io::Error, path: &Path| match error.kind() {
        std::io::ErrorKind::NotFound => Ok(()),
        _ => Err(Diagnostic::new(format!("`{}` cannot be removed: {error}", path.display()))),
    };
    for path in [place.timer(), place.service()] {
        std::fs::remove_file(&path).or_else(|error| gone(error, &path))?;
    }
    place.systemctl(&["daemon-reload"])?;
    let kept = place.kept()?;
    let rest = if purge {
        std::fs::remove_dir_all(&kept).or_else(|error| gone(error, &kept))?;
        "so is what its runs kept".to_owned()
    } else if kept.is_dir() {
        format!("what its runs kept is still in {} (--purge removes it, too)", kept.display())
    } else {
        "its runs kept nothing".to_owned()
    };
    output.answer(&format!("{timer} is removed; {rest}\n"));
    Ok(Exit::Compliant)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_reaches_the_command_as_it_was_typed() {
        let check = |word: &str, expected: &str| assert_eq!(quoted(word), expected, "{word}");
        check("/etc/hosts.yml", "/etc/hosts.yml");
        check("ctl1,ctl2,", "ctl1,ctl2,");
        check("", "\"\"");
        check("a b", "\"a b\"");
        check("100%", "100%%");
        check("$HOME", "\"$$HOME\"");
        check("say \"x\\\"", "\"say \\\"x\\\\\\\"\"");
        check("all:!ctl1", "\"all:!ctl1\"");
        check("one\ntwo", "\"one\\ntwo\"");
    }

    #[test]
    fn how_the_last_run_went() {
        let verdict = |ended: Option<&str>, exit: Option<u8>, trouble: Option<&str>| Verdict {
            started_at: "S".into(),
            ended_at: ended.map(str::to_owned),
            exit,
            trouble: trouble.map(str::to_owned),
            ..Verdict::default()
        };
        let check = |verdict: Verdict, running: bool, text: &str, exit: Exit| {
            assert_eq!(told(&verdict, running), (text.to_owned(), exit));
        };
        check(verdict(Some("E"), Some(2), None), false, "E, exit code 2", Exit::Findings);
        check(verdict(Some("E"), Some(0), None), false, "E, exit code 0", Exit::Compliant);
        check(verdict(None, None, None), true, "under way since S", Exit::Compliant);
        check(verdict(None, None, None), false, "S, and it did not get to its end", Exit::Broken);
        check(verdict(Some("E"), None, Some("x")), false, "E, could not do its work: x", Exit::Broken);
    }
}
