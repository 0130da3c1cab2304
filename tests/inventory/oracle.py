"""Asks ansible-core itself: one JSON request a line on stdin, one JSON answer a line on stdout.

A request: {"dir": ABSOLUTE, "inventories": [...], "playbook_dir": null|..., "vault_ids": [...],
"vault_files": [...], "limit": null|..., "patterns": [[PATTERN, LIMIT|null], ...]}.
The answer has what ansible-inventory prints for --list, --host and --graph, by its own functions, and
what `ansible PATTERN --list-hosts` selects. Every request runs in a child, because Ansible keeps its
command line and its vault passwords in globals.
"""
import json
import os
import sys

os.environ.update(ANSIBLE_DEPRECATION_WARNINGS="0", ANSIBLE_LOCALHOST_WARNING="0", ANSIBLE_NOCOLOR="1")
os.environ.pop("ANSIBLE_CONFIG", None)

from ansible.cli.inventory import InventoryCLI
from ansible.errors import AnsibleError
from ansible.inventory.group import Group


def walk_in_order(self, rel, include_self=False, preserve_ordering=False):
    """Group._walk_relationship with insertion order in place of a set's order.

    Ansible walks the levels of a hierarchy as sets of objects, so its order of hosts two levels
    down changes from run to run; this is the order that it has when sets are walked as filled.
    """
    level = {group: None for group in getattr(self, rel)}
    found = {self: None, **level} if include_self else dict(level)
    while level:
        below = {new: None for group in level for new in getattr(group, rel)}
        level = {group: None for group in below if group not in found}
        found.update(level)
    return list(found) if preserve_ordering else set(found)


Group._walk_relationship = walk_in_order


def arguments(request):
    args = []
    for inventory in request["inventories"]:
        args += ["-i", inventory]
    for vault_id in request.get("vault_ids") or []:
        args += ["--vault-id", vault_id]
    for file in request.get("vault_files") or []:
        args += ["--vault-password-file", file]
    if request.get("playbook_dir"):
        args += ["--playbook-dir", request["playbook_dir"].replace("{dir}", request["dir"])]
    return args


def in_child(work):
    """The result of `work` in a forked process."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(read)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        with os.fdopen(write, "w") as pipe:
            try:
                json.dump(work(), pipe)
            except BaseException as error:
                pipe.write(json.dumps({"error": repr(error)}))
            pipe.flush()
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as pipe:
        text = pipe.read()
    os.waitpid(pid, 0)
    return json.loads(text)


def loaded(request, *action):
    """ansible-inventory with its inventory read, just before it prints."""
    cli = InventoryCLI(["ansible-inventory", *arguments(request), *action])
    cli.parse()
    super(InventoryCLI, cli).run()
    cli.loader, cli.inventory, cli.vm = cli._play_prereqs()
    return cli


def selected(inventory, pattern, limit):
    """The hosts of a pattern, by the code behind `ansible PATTERN --list-hosts`."""
    inventory.clear_caches()
    if inventory.localhost.implicit:
        inventory._inventory.localhost = None
    try:
        inventory.subset(limit or None)
        return [str(getattr(host, "name", host)) for host in inventory.list_hosts(pattern)]
    except (AnsibleError, IndexError) as error:
        return {"error": str(error)}


def listed(request):
    """--list, --host of every host, --graph, and the patterns."""
    cli = loaded(request, "--list")
    hosts = cli.inventory.list_hosts("all")
    answer = {"host": {host.name: json.loads(cli.dump(cli._get_host_variables(host))) for host in hosts}}
    answer["graph"] = cli.inventory_graph()
    cli.inventory.subset(request.get("limit"))
    answer["list"] = json.loads(cli.dump(cli.json_inventory(cli._get_group("all"))))
    answer["patterns"] = [
        [pattern, limit, selected(cli.inventory, pattern, limit and limit.replace("{dir}", request["dir"]))]
        for pattern, limit in request["patterns"]
    ]
    return answer


def drawn(request):
    """--graph --vars."""
    return loaded(request, "--graph", "--vars").inventory_graph()


def answer(request):
    os.chdir(request["dir"])
    result = in_child(lambda: listed(request))
    result["graph_vars"] = in_child(lambda: drawn(request))
    return result


for line in sys.stdin:
    print(json.dumps(answer(json.loads(line)), ensure_ascii=False, sort_keys=True), flush=True)
