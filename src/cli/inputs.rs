//! Reading what the user gave: inventory, vaults, variables, playbook. Every mistake in them ends the run
//! here, before any host is touched.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;

use crate::audit::Tasks;
use crate::cli::args::{InventorySource, Reach, Subject};
use crate::cli::output::Output;
use crate::cli::{prompt, waivers};
use crate::error::{Diagnostic, Result};
use crate::inventory::{self, Inventory, Sources, Vars, vault};
use crate::plan::build::Rollout;
use crate::playbook::{self, Bound, HostVars, Loaded, RoundCommand};
use crate::probe::Request;
use crate::transport::{Flags, Target};
use crate::waiver::Waivers;

/// Everything a run needs, with nothing left to read.
#[derive(Debug)]
pub struct Inputs {
    /// The playbook's name as the user knows it.
    pub playbook: String,
    /// What should hold on each host.
    pub tasks: Arc<Tasks>,
    /// How the plays go over their hosts.
    pub rollouts: Vec<Rollout>,
    /// How each host is reached.
    pub hosts: BTreeMap<String, Reached>,
    /// The variables of the command line.
    pub extra_vars: Vars,
    /// Texts that came out of a vault or a password, masked wherever they would be shown.
    pub secrets: Vec<String>,
    /// Accepted differences.
    pub waivers: Waivers,
    /// Every host of the inventory, those outside of the run too.
    pub inventory: BTreeSet<String>,
    /// `.trueup` beside the first inventory that is a path, else in the current folder: what runs leave here.
    pub home: PathBuf,
}

/// How one host is reached, and what is asked of it.
#[derive(Debug, Clone)]
pub struct Reached {
    /// The way there.
    pub target: Target,
    /// What is asked of it.
    pub request: Request,
}

/// The vault passwords that the command line names.
pub fn vault_keys(source: &InventorySource) -> Result<vault::Keys> {
    let files: Vec<String> =
        source.vault_password_file.iter().map(|path| path.display().to_string()).collect();
    let mut ids = source.vault_id.clone();
    if source.ask_vault_pass {
        ids.push("default@prompt".to_owned());
    }
    inventory::vault_keys(&ids, &files, &mut |label| {
        use secrecy::ExposeSecret as _;
        let password = prompt::password(&format!("vault password ({label})"))?;
        Ok(password.expose_secret().to_owned().into())
    })
}

/// The inventory, with its warnings said.
pub fn inventory(
    source: &InventorySource,
    playbook_dir: Option<PathBuf>,
    keys: vault::Keys,
    output: Output,
) -> Result<Inventory> {
    if source.inventory.is_empty() {
        return Err(Diagnostic::new("no inventory was given").hint(
            "-i inventory.example shows one; -i 'ctl1,ctl2,' names hosts; ANSIBLE_INVENTORY works too",
        ));
    }
    let sources = Sources { inventories: source.inventory.clone(), playbook_dir, vault: keys };
    let inventory = Inventory::load(&sources)?;
    inventory.warnings().iter().for_each(|warning| output.warning(warning));
    Ok(inventory)
}

/// `-e` arguments, later ones over earlier ones, and what in them came out of a vault.
pub fn extra_vars(arguments: &[String], keys: &vault::Keys, output: Output) -> Result<(Vars, Vec<String>)> {
    let (mut vars, mut secrets) = (Vars::new(), Vec::new());
    for argument in arguments {
        let file = inventory::extra_vars(argument, keys)?;
        file.warnings.iter().for_each(|warning| output.warning(warning));
        secrets.extend(file.secrets);
        inventory::combine(&mut vars, &file.vars);
    }
    Ok((vars, secrets))
}

/// The playbook with its templates; `playbooks/` and `templates/` beside the inventories override the
/// embedded ones.
pub fn playbook(name: Option<&Path>, source: &InventorySource, keys: &vault::Keys) -> Result<Loaded> {
    let name = name.map(|name| name.display().to_string());
    let mut beside: Vec<PathBuf> = Vec::new();
    for inventory in source.inventory.iter().filter(|inventory| !inventory.contains(',')) {
        let path = Path::new(inventory);
        let folder = if path.is_dir() { Some(path) } else { path.parent() };
        beside.extend(folder.map(Path::to_path_buf));
    }
    playbook::load(name.as_deref(), &beside, &|text| keys.decrypt_text(text).map(|plain| plain.to_string()))
}

/// Reads it all.
pub fn read(subject: &Subject, reach: &Reach, output: Output) -> Result<Inputs> {
    let keys = vault_keys(&reach.source)?;
    let folder = subject.playbook.as_deref().filter(|path| path.is_file()).and_then(Path::parent);
    let inventory = inventory(&reach.source, folder.map(Path::to_path_buf), keys.clone(), output)?;
    let (extra, mut secrets) = extra_vars(&reach.extra_vars, &keys, output)?;
    let loaded = playbook(subject.playbook.as_deref(), &reach.source, &keys)?;
    loaded.playbook.warnings.iter().for_each(|warning| output.warning(warning));
    secrets.extend(loaded.secrets.iter().cloned());
    secrets.extend(inventory.secret_values().iter().cloned());
    let flags = flags(reach)?;
    let mut tasks = Tasks::new();
    let mut inputs = Inputs {
        playbook: loaded.playbook.path.clone(),
        tasks: Arc::default(),
        rollouts: Vec::new(),
        hosts: BTreeMap::new(),
        extra_vars: extra.clone(),
        secrets,
        waivers: Waivers::default(),
        inventory: inventory.hosts().map(|host| host.name.clone()).collect(),
        home: home(&reach.source.inventory),
    };
    let mut known: BTreeSet<String> = BTreeSet::new();
    for play in &loaded.playbook.plays {
        let hosts = inventory.select(&play.hosts, reach.limit.as_deref())?;
        let mut rollout = Rollout {
            hosts: hosts.clone(),
            serial: play.serial.clone(),
            max_fail_percentage: if play.any_errors_fatal {
                0.0
            } else {
                play.max_fail_percentage.unwrap_or(0.0)
            },
            ..Rollout::default()
        };
        for name in hosts {
            let mut vars = inventory.magic_vars(&name);
            inventory::combine(&mut vars, inventory.host_vars(&name));
            let host = HostVars { name: &name, inventory: &vars, extra: &extra };
            let bound = loaded.playbook.bind(play, &host, &loaded.templates)?;
            known.extend(bound.tasks.iter().map(|task| task.id.clone()));
            let bound = chosen(bound, subject);
            rollout.add(
                &name,
                bound.tasks.iter().map(|task| task.id.clone()),
                argvs(&bound.pre_tasks),
                argvs(&bound.post_tasks),
            );
            let connection = play.connection_vars(&host, &loaded.templates)?;
            let target = Target::from_vars(&name, &connection, &flags)?;
            let r#become = target.becomes(play.r#become);
            let reached = inputs.hosts.entry(name.clone()).or_insert_with(|| Reached {
                request: Request {
                    host: name.clone(),
                    root: target.root.as_ref().map(|root| root.display().to_string()),
                    ..Request::default()
                },
                target,
            });
            reached.request.r#become |= r#become;
            reached.request.questions.extend(bound.tasks.iter().flat_map(|task| task.module.questions()));
            tasks.entry(name).or_default().extend(bound.tasks);
        }
        inputs.rollouts.push(rollout);
    }
    if inputs.hosts.is_empty() {
        let limit = reach.limit.as_ref().map(|limit| format!(" within the limit `{limit}`"));
        let limit = limit.unwrap_or_default();
        return Err(Diagnostic::new(format!("no host is left to work on{limit}"))
            .hint("`trueup inventory -i … --hosts PATTERN` shows what a pattern selects"));
    }
    if tasks.values().all(Vec::is_empty) {
        return Err(Diagnostic::new("no task is left to check")
            .hint("`trueup explain` lists the tasks and their tags"));
    }
    known.extend(loaded.playbook.plays.iter().flat_map(|play| &play.tasks).map(|task| task.id.clone()));
    inputs.waivers = waivers::read(reach, &inventory, &extra, &known, output)?;
    for reached in inputs.hosts.values_mut() {
        reached.request.questions.sort();
        reached.request.questions.dedup();
    }
    inputs.tasks = Arc::new(tasks);
    Ok(inputs)
}

/// Where runs leave what they keep on this machine.
pub fn home(inventories: &[String]) -> PathBuf {
    let beside = |inventory: &String| {
        let path = Path::new(inventory);
        if path.is_dir() {
            return Some(path.to_path_buf());
        }
        // `inventory` alone has the empty parent: the current folder.
        path.parent().filter(|_| path.is_file()).map(Path::to_path_buf)
    };
    let mut paths = inventories.iter().filter(|inventory| !inventory.contains(','));
    paths.find_map(beside).unwrap_or_default().join(".trueup")
}

/// The tasks that `--tags` and `--skip-tags` leave; a task's id is one of its tags.
fn chosen(mut bound: Bound, subject: &Subject) -> Bound {
    let runs = |tags: &[String], id: &str| {
        let own: Vec<String> = tags.iter().cloned().chain([id.to_owned()]).collect();
        // Without this, `untagged` would never hold: every task has its id.
        let plain = if tags.is_empty() && !subject.tags.iter().chain(&subject.skip_tags).any(|tag| tag == id)
        {
            tags
        } else {
            &own
        };
        playbook::selected(plain, &subject.tags, &subject.skip_tags)
    };
    bound.tasks.retain(|task| runs(&task.tags, &task.id));
    bound.pre_tasks.retain(|task| runs(&task.tags, &task.id));
    bound.post_tasks.retain(|task| runs(&task.tags, &task.id));
    bound
}

fn argvs(commands: &[RoundCommand]) -> Vec<Vec<String>> {
    commands.iter().map(|command| command.argv.clone()).collect()
}

/// What the command line says about reaching hosts; passwords are asked for here.
fn flags(reach: &Reach) -> Result<Flags> {
    let password = |asked: bool, question: &str| -> Result<Option<SecretString>> {
        if asked { prompt::password(question).map(Some) } else { Ok(None) }
    };
    let login = password(reach.ask_pass, "SSH password")?;
    let sudo = password(reach.ask_become_pass, "sudo password (empty: the SSH password)")?;
    let sudo = sudo.map(|typed| {
        use secrecy::ExposeSecret as _;
        // As Ansible: an empty answer is the SSH password again.
        if typed.expose_secret().is_empty() { login.clone().unwrap_or(typed) } else { typed }
    });
    let host_key_checking = match std::env::var("ANSIBLE_HOST_KEY_CHECKING") {
        Ok(text) => Some(truth(&text).ok_or_else(|| {
            Diagnostic::new(format!("ANSIBLE_HOST_KEY_CHECKING is `{text}`, which is neither true nor false"))
        })?),
        Err(_) => None,
    };
    Ok(Flags {
        user: reach.user.clone(),
        password: login,
        r#become: reach.r#become,
        become_password: sudo,
        private_key: reach.private_key.as_ref().map(|path| path.display().to_string()),
        ssh_common_args: reach.ssh_common_args.clone(),
        timeout: Some(reach.timeout),
        host_key_checking,
        deadline: Some(Duration::from_secs(reach.host_deadline)),
        ..Flags::default()
    })
}

/// Ansible's words for true and false.
fn truth(text: &str) -> Option<bool> {
    match text.trim().to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" | "1" | "y" | "t" => Some(true),
        "false" | "no" | "off" | "0" | "n" | "f" => Some(false),
        _ => None,
    }
}
