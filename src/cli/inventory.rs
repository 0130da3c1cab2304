//! `trueup inventory`.

use crate::cli::args::InventoryArgs;
use crate::cli::inputs;
use crate::cli::output::Output;
use crate::error::{Exit, Result};
use crate::inventory::{graph_text, host_json, hosts_lines, json_text, list_json};

/// Shows the inventory as Ansible reads it.
pub fn run(args: &InventoryArgs, output: Output) -> Result<Exit> {
    let keys = inputs::vault_keys(&args.source)?;
    // Like `ansible-inventory`: group_vars and host_vars of the current directory count.
    let playbook_dir = args.playbook_dir.clone().unwrap_or_else(|| ".".into());
    let inventory = inputs::inventory(&args.source, Some(playbook_dir), keys, output)?;
    let limit = args.limit.as_deref();
    let text = if args.list {
        json_text(&list_json(&inventory, limit)?)
    } else if let Some(host) = &args.host {
        json_text(&host_json(&inventory, host)?)
    } else if let Some(pattern) = &args.hosts {
        inventory.unmatched(pattern)?.iter().for_each(|warning| output.warning(warning));
        hosts_lines(&inventory, pattern, limit)?
    } else {
        graph_text(&inventory, args.graph.as_deref().unwrap_or("all"), args.vars)? + "\n"
    };
    output.answer(&text);
    Ok(Exit::Compliant)
}
