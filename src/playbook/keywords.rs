//! The keywords of plays and tasks: those that are read, and Ansible's that are not.

/// Keywords of a play.
pub(super) const PLAY_KEYS: &[&str] = &[
    "name",
    "hosts",
    "become",
    "serial",
    "max_fail_percentage",
    "any_errors_fatal",
    "vars",
    "vars_files",
    "pre_tasks",
    "tasks",
    "post_tasks",
    "gather_facts",
    "tags",
];

/// Ansible's other play keywords (ansible-core 2.19, `playbook/play.py` and its bases), and what to
/// do instead where there is something.
pub(super) const FOREIGN_PLAY_KEYS: &[(&str, &str)] = &[
    ("become_exe", "set `ansible_become_exe` in the inventory"),
    ("become_flags", "set `ansible_become_flags` in the inventory"),
    ("become_method", "sudo is the only method"),
    ("become_user", "set `ansible_become_user` in the inventory"),
    ("check_mode", "use `trueup remediate --check`"),
    ("collections", ""),
    ("connection", "set `ansible_connection` in the inventory"),
    ("debugger", ""),
    ("diff", "use `trueup plan`, or `--diff`"),
    ("environment", ""),
    ("fact_path", ""),
    ("force_handlers", "services that read a changed file are restarted by themselves"),
    ("gather_subset", ""),
    ("gather_timeout", ""),
    ("handlers", "services that read a changed file are restarted by themselves"),
    ("ignore_errors", ""),
    ("ignore_unreachable", "a host that cannot be reached is reported, and the others go on"),
    ("import_playbook", "put the plays into one file"),
    ("module_defaults", ""),
    ("no_log", "secrets are always masked"),
    ("order", ""),
    ("port", "set `ansible_port` in the inventory"),
    ("remote_user", "set `ansible_user` in the inventory, or use `-u`"),
    ("roles", "put the tasks under `tasks`"),
    ("run_once", ""),
    ("strategy", "the remedy of the built-in playbook is the variable `strategy`, under `vars`"),
    ("throttle", "use `serial`"),
    ("timeout", ""),
    ("validate_argspec", ""),
    ("vars_prompt", "use `-e`"),
];

/// Keywords of a task, beside its module.
pub(super) const TASK_KEYS: &[&str] =
    &["name", "id", "when", "loop", "loop_control", "tags", "vars", "severity", "why", "references"];

/// Ansible's other task keywords (`playbook/task.py`, `playbook/block.py` and their bases).
pub(super) const FOREIGN_TASK_KEYS: &[(&str, &str)] = &[
    ("action", "write the module's name as the key"),
    ("always", ""),
    ("any_errors_fatal", "set it in the play"),
    ("args", "write the arguments under the module"),
    ("async", ""),
    ("become", "set it in the play"),
    ("become_exe", "set `ansible_become_exe` in the inventory"),
    ("become_flags", "set `ansible_become_flags` in the inventory"),
    ("become_method", "sudo is the only method"),
    ("become_user", "set `ansible_become_user` in the inventory"),
    ("block", "list the tasks one after the other"),
    ("changed_when", "a task says what should hold, and the tool compares"),
    ("check_mode", "use `trueup remediate --check`"),
    ("collections", ""),
    ("connection", "set `ansible_connection` in the inventory"),
    ("debugger", ""),
    ("delay", ""),
    ("delegate_facts", ""),
    ("delegate_to", "run a play on that host"),
    ("diff", "use `trueup plan`, or `--diff`"),
    ("environment", ""),
    ("failed_when", "a task says what should hold, and the tool compares"),
    ("ignore_errors", "use `severity: info`"),
    ("ignore_unreachable", "a host that cannot be reached is reported, and the others go on"),
    ("listen", ""),
    ("local_action", ""),
    ("module_defaults", ""),
    ("no_log", "secrets are always masked"),
    ("notify", "services that read a changed file are restarted by themselves"),
    ("poll", ""),
    ("port", "set `ansible_port` in the inventory"),
    ("register", "nothing is left to decide once a host is touched"),
    ("remote_user", "set `ansible_user` in the inventory, or use `-u`"),
    ("rescue", "a host that fails is rolled back by itself"),
    ("retries", ""),
    ("run_once", ""),
    ("throttle", "use `serial` in the play"),
    ("timeout", ""),
    ("until", ""),
];

/// Ansible's names of the one module that `pre_tasks` and `post_tasks` may use.
pub(super) const COMMAND: &[&str] = &["command", "ansible.builtin.command", "ansible.legacy.command"];
/// The arguments that it takes there.
pub(super) const COMMAND_ARGUMENTS: &[&str] = &["cmd", "argv"];
