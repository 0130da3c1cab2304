//! The command line. Ansible's flags and variables keep their meaning.

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::PossibleValuesParser;
use clap::{Args, Parser, Subcommand};

use crate::apply::Patience;
use crate::error::{Diagnostic, Result};
use crate::plan::rollout::Allow;
use crate::report::FORMATS;
use crate::report::incidents::INCIDENT_FORMATS;

fn formats() -> PossibleValuesParser {
    PossibleValuesParser::new(
        FORMATS.iter().map(|format| clap::builder::PossibleValue::new(format.name).help(format.summary)),
    )
}

fn incident_formats() -> PossibleValuesParser {
    PossibleValuesParser::new(
        INCIDENT_FORMATS
            .iter()
            .map(|format| clap::builder::PossibleValue::new(format.name).help(format.summary)),
    )
}

/// Makes OpenStack RPC survive the loss of a broker connection, and keeps it so.
///
/// Over plain SSH, with nothing installed on the hosts: audits keepalive, RabbitMQ and oslo.messaging
/// settings, computes why RPC replies are lost when a broker connection dies silently, and remedies it
/// with rolling restarts.
///
/// Exit codes: 0 compliant, or applied and verified; 1 the tool could not do its job; 2 findings or
/// pending changes; 3 apply or verify failed on a host; 4 a host could not be reached; 130 interrupted.
#[derive(Debug, Parser)]
#[command(name = "trueup", version, max_term_width = 100, propagate_version = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// More of the log on standard error; -vv and -vvv for still more.
    #[arg(short, long, action = clap::ArgAction::Count, global = true)]
    pub verbose: u8,
    /// No colour; the variable `NO_COLOR` does the same.
    #[arg(long, global = true)]
    pub no_color: bool,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Says what does not hold, where, why it matters and what would mend it; changes nothing.
    Audit(AuditArgs),
    /// Says what would change, as a diff and a list of restarts; changes nothing.
    Plan(PlanArgs),
    /// Audits, plans, asks, applies with rolling restarts, and verifies.
    Remediate(RemediateArgs),
    /// Applies a saved plan; refused where a host has changed since.
    Apply(ApplyArgs),
    /// Puts a run back, byte for byte; refused where somebody has changed a file since.
    Rollback(RollbackArgs),
    /// Finishes a run that was interrupted.
    Resume(RunArgs),
    /// Lists the runs that changed hosts.
    Runs(RunsArgs),
    /// Audits again and checks health: members, partitions, alarms, services.
    Verify(AuditArgs),
    /// Reads the logs and says which calls were lost to a dead consumer, when, and whether they would be again.
    Incidents(IncidentArgs),
    /// Says what differs from the last verified run and from what should hold, and whose doing it is.
    Drift(Box<DriftArgs>),
    /// Looks for drift by itself: a systemd timer on this machine.
    Schedule(Box<ScheduleArgs>),
    /// Shows the inventory as Ansible reads it.
    Inventory(InventoryArgs),
    /// Reads the facts of hosts and saves them, secrets masked.
    Facts(FactsArgs),
    /// Shows what an OpenStack service would read from configuration files.
    Config(ConfigArgs),
    /// Explains a task of the playbook: why, sources, what it changes.
    Explain(ExplainArgs),
    /// Runs the whole flow on a recorded cluster: no network, no privileges.
    Demo(DemoArgs),
    /// Prints a completion script for a shell.
    Completions {
        /// Which shell.
        shell: clap_complete::Shell,
    },
    /// Prints the manual pages, or writes them to files.
    Man {
        /// Write each page into this folder, as trueup.1, trueup-audit.1…
        #[arg(long, value_name = "DIR")]
        dir: Option<PathBuf>,
    },
}

/// Which hosts, as in Ansible.
#[derive(Debug, Clone, Default, Args)]
pub struct InventorySource {
    /// Inventory: a file, a folder, a script, or hosts with commas; may be repeated.
    #[arg(short, long = "inventory", value_name = "INVENTORY", env = "ANSIBLE_INVENTORY")]
    pub inventory: Vec<String>,
    /// File with the vault password, or a script that prints it.
    #[arg(long, value_name = "FILE", env = "ANSIBLE_VAULT_PASSWORD_FILE")]
    pub vault_password_file: Vec<PathBuf>,
    /// Vault identity and where its password is: LABEL@FILE or LABEL@prompt.
    #[arg(long, value_name = "LABEL@SOURCE")]
    pub vault_id: Vec<String>,
    /// Ask for the vault password.
    #[arg(short = 'J', long, alias = "ask-vault-password")]
    pub ask_vault_pass: bool,
}

/// How hosts are chosen and reached, as in Ansible.
#[derive(Debug, Clone, Default, Args)]
pub struct Reach {
    /// Where the hosts are described.
    #[command(flatten)]
    pub source: InventorySource,
    /// Only these hosts: a pattern, or @FILE with one a line.
    #[arg(short, long, value_name = "PATTERN")]
    pub limit: Option<String>,
    /// Variables that beat all others: k=v, JSON, YAML, or @FILE; may be repeated.
    #[arg(short, long, value_name = "VARS")]
    pub extra_vars: Vec<String>,
    /// How many hosts at once.
    #[arg(short, long, default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..))]
    pub forks: u16,
    /// Log in as this user.
    #[arg(short, long, value_name = "USER")]
    pub user: Option<String>,
    /// Ask for the SSH password.
    #[arg(short = 'k', long)]
    pub ask_pass: bool,
    /// Use sudo on the hosts, whatever the playbook says.
    #[arg(short = 'b', long = "become")]
    pub r#become: bool,
    /// Ask for sudo's password.
    #[arg(short = 'K', long)]
    pub ask_become_pass: bool,
    /// Log in with this key.
    #[arg(long, alias = "key-file", value_name = "FILE")]
    pub private_key: Option<PathBuf>,
    /// More arguments for ssh, as in `-J jumphost`.
    #[arg(long, value_name = "ARGS", allow_hyphen_values = true)]
    pub ssh_common_args: Option<String>,
    /// Seconds to wait for a connection.
    #[arg(short = 'T', long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=600))]
    pub timeout: u64,
    /// Accepted differences; else `waivers.yml` beside the inventory, if it is there.
    #[arg(long, value_name = "FILE")]
    pub waivers: Option<PathBuf>,
    /// Seconds one host may take to be read.
    #[arg(long, default_value_t = 60, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    pub host_deadline: u64,
}

/// What should hold, and how the answer looks.
#[derive(Debug, Clone, Args)]
pub struct Subject {
    /// The playbook; the built-in one when it is left out.
    pub playbook: Option<PathBuf>,
    /// Only tasks with one of these tags or ids, with commas.
    #[arg(short, long, value_delimiter = ',', value_name = "TAGS")]
    pub tags: Vec<String>,
    /// No tasks with one of these tags or ids, with commas.
    #[arg(long, value_delimiter = ',', value_name = "TAGS")]
    pub skip_tags: Vec<String>,
    /// Form of the answer on standard output.
    #[arg(long, default_value = FORMATS[0].name, value_parser = formats())]
    pub format: String,
    /// The answer into files as well.
    #[command(flatten)]
    pub files: Files,
}

/// Files that the answer is written to.
#[derive(Debug, Clone, Default, Args)]
pub struct Files {
    /// Write the answer to FILE too, in any of the forms of --format; may be repeated. The file is replaced at once.
    #[arg(long = "report", value_name = "FORMAT=FILE")]
    pub reports: Vec<String>,
}

/// `audit`, `verify`.
#[derive(Debug, Clone, Args)]
pub struct AuditArgs {
    /// What should hold.
    #[command(flatten)]
    pub subject: Subject,
    /// Which hosts.
    #[command(flatten)]
    pub reach: Reach,
    /// Saved facts instead of a probe: no host is touched.
    #[arg(long, value_name = "DIR")]
    pub facts: Option<PathBuf>,
}

/// `drift`.
#[derive(Debug, Clone, Args)]
pub struct DriftArgs {
    /// What an audit takes.
    #[command(flatten)]
    pub audit: AuditArgs,
    /// Say nothing when there is no drift.
    #[arg(long)]
    pub changes_only: bool,
    /// Take what is now as the baseline, after it was listed and agreed to.
    #[arg(long, conflicts_with_all = ["notify", "keep"])]
    pub accept: bool,
    /// Do not ask before the baseline is replaced.
    #[arg(short, long, requires = "accept")]
    pub yes: bool,
    /// Where the baselines are; `.trueup/baseline` beside the inventory when left out.
    #[arg(long, value_name = "DIR")]
    pub baseline: Option<PathBuf>,
    /// Keep the last report and verdict here, and let no two runs overlap.
    #[arg(long, value_name = "DIR")]
    pub keep: Option<PathBuf>,
    /// Run this with the JSON report on its standard input when the verdict is another than last time.
    #[arg(long, value_name = "COMMAND")]
    pub notify: Option<String>,
}

/// `schedule`.
#[derive(Debug, Clone, Args)]
pub struct ScheduleArgs {
    /// What to do with it.
    #[command(subcommand)]
    pub action: ScheduleAction,
}

/// The commands of `schedule`.
#[derive(Debug, Clone, Subcommand)]
pub enum ScheduleAction {
    /// Writes a service and a timer that run `trueup drift`, and starts the timer.
    Install(Box<InstallArgs>),
    /// Says when the next run is and how the last one went; exits as the last run did.
    Status(ScheduleName),
    /// Takes the service and the timer away.
    Remove(RemoveArgs),
}

/// `schedule remove`.
#[derive(Debug, Clone, Args)]
pub struct RemoveArgs {
    /// Which schedule.
    #[command(flatten)]
    pub name: ScheduleName,
    /// What its runs kept, too: the last report and verdict.
    #[arg(long)]
    pub purge: bool,
}

/// Which schedule.
#[derive(Debug, Clone, Args)]
pub struct ScheduleName {
    /// Of this user's own systemd or of the machine's; the machine's is meant where root asks.
    #[arg(long, value_name = "SCOPE", value_parser = ["user", "system"])]
    pub scope: Option<String>,
    /// Its units are called trueup-NAME.
    #[arg(long, value_name = "NAME", default_value = "drift")]
    pub name: String,
}

/// `schedule install`.
#[derive(Debug, Clone, Args)]
pub struct InstallArgs {
    /// The playbook; the built-in one when it is left out.
    pub playbook: Option<PathBuf>,
    /// Which schedule.
    #[command(flatten)]
    pub name: ScheduleName,
    /// When: a calendar of systemd, as in `hourly` or `*:0/15`.
    #[arg(long, value_name = "CALENDAR", default_value = "hourly")]
    pub calendar: String,
    /// At most so much later, another time at each run.
    #[arg(long, value_name = "TIME", default_value = "5min")]
    pub random_delay: String,
    /// Run this with the JSON report on its standard input when the verdict is another than last time.
    #[arg(long, value_name = "COMMAND")]
    pub notify: Option<String>,
    /// Where the baselines are; `.trueup/baseline` beside the inventory when left out.
    #[arg(long, value_name = "DIR")]
    pub baseline: Option<PathBuf>,
    /// In the machine's scope: run as this user, whose SSH keys are used; who called sudo, when left out.
    #[arg(long, value_name = "USER")]
    pub run_as: Option<String>,
    /// The socket of an SSH agent that outlives logins, as in %t/ssh-agent.socket.
    #[arg(long, value_name = "SOCKET")]
    pub ssh_agent: Option<PathBuf>,
    /// Print the units and write nothing.
    #[arg(long)]
    pub print: bool,
    /// Only tasks with one of these tags or ids, with commas.
    #[arg(short, long, value_delimiter = ',', value_name = "TAGS")]
    pub tags: Vec<String>,
    /// No tasks with one of these tags or ids, with commas.
    #[arg(long, value_delimiter = ',', value_name = "TAGS")]
    pub skip_tags: Vec<String>,
    /// The answer into files as well.
    #[command(flatten)]
    pub files: Files,
    /// Which hosts.
    #[command(flatten)]
    pub reach: Reach,
}

/// `plan`.
#[derive(Debug, Clone, Args)]
pub struct PlanArgs {
    /// What an audit takes.
    #[command(flatten)]
    pub audit: AuditArgs,
    /// Save the plan for `trueup apply`.
    #[arg(short, long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}

/// How changes are carried out.
#[derive(Debug, Clone, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
pub struct Going {
    /// Show the changes of files.
    #[arg(short = 'D', long)]
    pub diff: bool,
    /// Do not ask.
    #[arg(short, long)]
    pub yes: bool,
    /// Seconds a restarted service may take to be healthy.
    #[arg(long, default_value_t = 180, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    pub gate_deadline: u64,
    /// Seconds the restarted services of a host must stay healthy before the next hosts' turn.
    #[arg(long, default_value_t = 10, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(..=3600))]
    pub settle: u64,
    /// Restart a broker although quorum queues have no majority meanwhile, as on a cluster of two nodes.
    #[arg(long)]
    pub allow_quorum_loss: bool,
    /// Seconds after which a host that no longer hears of this run puts itself back.
    #[arg(long, default_value_t = 300, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(32..=86400))]
    pub failsafe: u64,
    /// Go without: a host stays half changed when this run dies.
    #[arg(long, conflicts_with = "failsafe")]
    pub no_failsafe: bool,
    /// Where the run is recorded.
    #[command(flatten)]
    pub records: RecordArgs,
}

/// Where runs are recorded.
#[derive(Debug, Clone, Default, Args)]
pub struct RecordArgs {
    /// Folder with the records of runs; `.trueup/runs` beside the inventory when left out.
    #[arg(long, value_name = "DIR")]
    pub runs: Option<PathBuf>,
}

impl Going {
    /// What is allowed although it is not safe.
    pub fn allow(&self) -> Allow {
        Allow { quorum_loss: self.allow_quorum_loss }
    }

    /// How long gates wait.
    pub fn patience(&self) -> Patience {
        Patience {
            settle: Duration::from_secs(self.settle),
            deadline: Duration::from_secs(self.gate_deadline),
            ..Patience::default()
        }
    }

    /// How long a host waits for a sign of life. A step that takes as long as it may must not end it.
    pub fn lease(&self) -> Result<Duration> {
        let least = self.gate_deadline + 30;
        if self.failsafe <= least {
            return Err(Diagnostic::new(format!(
                "--failsafe {} is not above --gate-deadline {} + 30",
                self.failsafe, self.gate_deadline
            ))
            .hint(format!("--failsafe {}", least + 30)));
        }
        Ok(Duration::from_secs(self.failsafe))
    }
}

/// `remediate`.
#[derive(Debug, Clone, Args)]
pub struct RemediateArgs {
    /// What should hold.
    #[command(flatten)]
    pub subject: Subject,
    /// Which hosts.
    #[command(flatten)]
    pub reach: Reach,
    /// Change nothing: say what would be done.
    #[arg(short = 'C', long)]
    pub check: bool,
    /// How it is carried out.
    #[command(flatten)]
    pub going: Going,
}

/// `apply`.
#[derive(Debug, Clone, Args)]
pub struct ApplyArgs {
    /// The plan, from `trueup plan -o`.
    pub plan: PathBuf,
    /// How.
    #[command(flatten)]
    pub made: MadeArgs,
}

/// What carries out a plan that was made before.
#[derive(Debug, Clone, Args)]
pub struct MadeArgs {
    /// The playbook that it was made with, for the audit afterwards; the built-in one when left out.
    #[arg(long, value_name = "FILE")]
    pub playbook: Option<PathBuf>,
    /// Form of the answer on standard output.
    #[arg(long, default_value = FORMATS[0].name, value_parser = formats())]
    pub format: String,
    /// The answer into files as well.
    #[command(flatten)]
    pub files: Files,
    /// Which hosts.
    #[command(flatten)]
    pub reach: Reach,
    /// How it is carried out.
    #[command(flatten)]
    pub going: Going,
}

impl MadeArgs {
    /// What should hold, for the audit afterwards.
    pub fn subject(&self) -> Subject {
        Subject {
            playbook: self.playbook.clone(),
            tags: Vec::new(),
            skip_tags: Vec::new(),
            format: self.format.clone(),
            files: self.files.clone(),
        }
    }
}

/// `incidents`.
///
/// Exit code 2: calls were lost to a dead consumer. Calls that got no answer for another reason are told and
/// change nothing.
#[derive(Debug, Clone, Args)]
pub struct IncidentArgs {
    /// Read these files and folders instead of the hosts' logs; no inventory is needed.
    #[arg(long, value_name = "DIR|FILE", num_args = 1..)]
    pub log: Vec<PathBuf>,
    /// Only what happened from then on: `2017-05-12 18:24`, `yesterday`, or how long ago as in `-2h`.
    #[arg(long, value_name = "WHEN", allow_hyphen_values = true)]
    pub since: Option<String>,
    /// Only what happened until then.
    #[arg(long, value_name = "WHEN", allow_hyphen_values = true)]
    pub until: Option<String>,
    /// The zone of --since and --until, and of logs given with --log; this machine's when left out.
    #[arg(long, value_name = "ZONE")]
    pub timezone: Option<String>,
    /// Do not ask what today's settings would make of it.
    #[arg(long)]
    pub no_audit: bool,
    /// Saved facts instead of a probe, for today's settings.
    #[arg(long, value_name = "DIR", conflicts_with = "no_audit")]
    pub facts: Option<PathBuf>,
    /// The playbook that says which hosts; the built-in one when it is left out.
    #[arg(long, value_name = "FILE")]
    pub playbook: Option<PathBuf>,
    /// Seconds one host may take to search its logs.
    #[arg(long, default_value_t = 600, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(10..))]
    pub scan_deadline: u64,
    /// Form of the answer on standard output.
    #[arg(long, default_value = INCIDENT_FORMATS[0].name, value_parser = incident_formats())]
    pub format: String,
    /// Which hosts.
    #[command(flatten)]
    pub reach: Reach,
}

/// `rollback`, `resume`.
#[derive(Debug, Clone, Args)]
pub struct RunArgs {
    /// The run, as `trueup runs` lists it; `last` is the newest.
    pub run: String,
    /// How.
    #[command(flatten)]
    pub made: MadeArgs,
}

/// `rollback`.
#[derive(Debug, Clone, Args)]
pub struct RollbackArgs {
    /// Which run, and how.
    #[command(flatten)]
    pub run: RunArgs,
    /// Also put back what somebody else has changed since.
    #[arg(long)]
    pub force: bool,
}

/// `runs`.
#[derive(Debug, Clone, Args)]
pub struct RunsArgs {
    /// Where the hosts are described: runs are recorded beside it.
    #[command(flatten)]
    pub source: InventorySource,
    /// Where the runs are recorded.
    #[command(flatten)]
    pub records: RecordArgs,
    /// Form of the answer.
    #[arg(long, default_value = "human", value_parser = ["human", "json"])]
    pub format: String,
}

/// `inventory`.
#[derive(Debug, Clone, Args)]
#[command(group = clap::ArgGroup::new("what").required(true).args(["list", "host", "graph", "hosts"]))]
pub struct InventoryArgs {
    /// Where the hosts are described.
    #[command(flatten)]
    pub source: InventorySource,
    /// Everything, as `ansible-inventory --list` prints it.
    #[arg(long)]
    pub list: bool,
    /// One host's variables.
    #[arg(long, value_name = "HOST")]
    pub host: Option<String>,
    /// The groups below GROUP as a tree.
    #[arg(long, value_name = "GROUP", num_args = 0..=1, default_missing_value = "all")]
    pub graph: Option<String>,
    /// The hosts a pattern selects, one a line.
    #[arg(long, value_name = "PATTERN")]
    pub hosts: Option<String>,
    /// With --graph: variables too.
    #[arg(long, requires = "graph")]
    pub vars: bool,
    /// Only these hosts.
    #[arg(short, long, value_name = "PATTERN")]
    pub limit: Option<String>,
    /// The folder whose group_vars and host_vars count as the playbook's.
    #[arg(long, value_name = "DIR")]
    pub playbook_dir: Option<PathBuf>,
}

/// `config`.
#[derive(Debug, Clone, Args)]
pub struct ConfigArgs {
    /// Files in the order in which a service reads them.
    #[arg(required_unless_present = "config_dir")]
    pub files: Vec<PathBuf>,
    /// Folders whose *.conf files are read after the files.
    #[arg(long, value_name = "DIR")]
    pub config_dir: Vec<PathBuf>,
    /// Form of the answer. JSON holds the values as they stand, passwords too; the human form masks them.
    #[arg(long, default_value = "human", value_parser = ["human", "json"])]
    pub format: String,
}

/// `explain`.
#[derive(Debug, Clone, Args)]
pub struct ExplainArgs {
    /// The task's id; without one, all tasks are listed.
    pub task: Option<String>,
    /// The playbook; the built-in one when it is left out.
    #[arg(long, value_name = "FILE")]
    pub playbook: Option<PathBuf>,
}

/// `facts`.
#[derive(Debug, Clone, Args)]
pub struct FactsArgs {
    /// Which hosts.
    #[command(flatten)]
    pub reach: Reach,
    /// The playbook whose questions are asked too; the built-in one when it is left out.
    pub playbook: Option<PathBuf>,
    /// Folder to write to, one JSON file a host.
    #[arg(long, value_name = "DIR")]
    pub save: PathBuf,
}

/// `demo`.
#[derive(Debug, Clone, Args)]
pub struct DemoArgs {
    /// Another remedy: heartbeat, keepalive, retries2 or `rpc_timeout`.
    #[arg(long, value_name = "STRATEGY", default_value = "heartbeat", value_parser = ["heartbeat", "keepalive", "retries2", "rpc_timeout"])]
    pub strategy: String,
    /// The last answer into files as well.
    #[command(flatten)]
    pub files: Files,
}
