# Calls the `oslo_rpc_server_ping` of a service's own queues and tells who answers, on standard output:
# `asking` when it is about to, then a line for each call, then `done`; or `cannot` and why. Run by the service's own
# Python.
#
#     python3 -B -c SCRIPT PID PROJECT PROGRAM PATIENCE QUEUE=CALLS... -- --config-file=FILE...
import os
import sys
import time

# A silent queue costs PATIENCE for each of its calls, and whoever waits for us has a deadline.
ENOUGH = 20


def say(*words):
    print(*words, flush=True)


def environment(pid):
    """What oslo.config reads of the service's own environment; a container's is ours already."""
    if pid != "0":
        with open("/proc/%s/environ" % pid, "rb") as source:
            pairs = (os.fsdecode(pair).partition("=") for pair in source.read().split(b"\0"))
            os.environ.update((name, value) for name, _, value in pairs if name.startswith("OS_"))


def transport(arguments, project, program):
    import oslo_messaging
    from oslo_config import cfg

    # Parts of oslo.messaging register their options with this one alone.
    conf = cfg.CONF
    conf(arguments, project=project, prog=program, default_config_files=[], default_config_dirs=[])
    # The first one registers the options that the second is to find changed.
    oslo_messaging.get_rpc_transport(conf).cleanup()
    rabbit = "oslo_messaging_rabbit"
    for name, value, group in [
        # RabbitMQ's default exchange leads to each queue by its name; which exchange a project uses is in its code.
        ("control_exchange", "", None),
        # The reply queue goes when nobody has used it for so many seconds; half an hour is usual.
        ("rabbit_transient_queues_ttl", 60, rabbit),
        # It counts in a file that the service has too.
        ("use_queue_manager", False, rabbit),
        ("metrics_enabled", False, "oslo_messaging_metrics"),
    ]:
        try:
            conf.set_override(name, value, group)
        except cfg.Error:
            # This release does not have it.
            pass
    return oslo_messaging.get_rpc_transport(conf)


def call(to, queue, patience):
    import oslo_messaging

    make = getattr(oslo_messaging, "get_rpc_client", oslo_messaging.RPCClient)
    client = make(to, oslo_messaging.Target(topic=queue), timeout=patience, retry=2)
    began = time.monotonic()
    try:
        # Cinder and Manila take no context without the first, and nobody needs to look up policies for the second.
        client.call({"read_deleted": "no", "is_admin": False}, "oslo_rpc_server_ping")
    except oslo_messaging.MessagingTimeout:
        return "silent"
    except Exception as error:
        # What the server raised has come as a reply, with its traceback.
        if not isinstance(error, oslo_messaging.RemoteError) and "Traceback (most recent" not in str(error):
            raise
    return "answered %.3f" % (time.monotonic() - began)


def main():
    pid, project, program, patience = sys.argv[1:5]
    end = sys.argv.index("--")
    try:
        environment(pid)
        to = transport(sys.argv[end + 1 :], project, program)
        say("asking")
        began = time.monotonic()
        for queue, calls in (word.rsplit("=", 1) for word in sys.argv[5:end]):
            for _ in range(int(calls)):
                if time.monotonic() - began < ENOUGH:
                    say(call(to, queue, int(patience)), queue)
        say("done")
    except Exception as error:
        # Its class alone: the message can hold a URL with its password.
        say("cannot", type(error).__name__, getattr(error, "name", None) or "")


main()
# Threads of the driver may still wait for a broker.
os._exit(0)
