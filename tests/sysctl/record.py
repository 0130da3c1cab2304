#!/usr/bin/env python3
"""Record what systemd-sysctl and procps's sysctl make of trees of files, as tests/sysctl/cases.json.

    tests/sysctl/record.py 260 7 > tests/sysctl/cases.json      # how many generated trees, and the seed

Needs root, for network and mount namespaces of its own; nothing outside them is changed. Each run starts with
the kernel's defaults.
"""
import json
import os
import random
import subprocess
import sys
import tempfile

PROGRAM = os.environ.get("SYSTEMD_SYSCTL", "/usr/lib/systemd/systemd-sysctl")
KEYS = [f"net.ipv4.tcp_{name}" for name in ("retries2", "keepalive_time", "keepalive_intvl", "keepalive_probes")]
FOLDERS = ["etc/sysctl.d", "run/sysctl.d", "usr/local/lib/sysctl.d", "usr/lib/sysctl.d"]
INSIDE = r"""
tree=$1; program=$2
mount --make-rprivate /
for folder in etc run usr/local/lib usr/lib; do
    mkdir -p /$folder/sysctl.d
    mount --bind $tree/$folder/sysctl.d /$folder/sysctl.d
done
if [ -e $tree/etc/sysctl.conf ]; then touch /etc/sysctl.conf; mount --bind $tree/etc/sysctl.conf /etc/sysctl.conf
elif [ -e /etc/sysctl.conf ]; then mount --bind /dev/null /etc/sysctl.conf
fi
cd /proc/sys/net/ipv4
reset() { echo 15 >tcp_retries2; echo 7200 >tcp_keepalive_time; echo 75 >tcp_keepalive_intvl; echo 9 >tcp_keepalive_probes; }
show() { echo $(cat tcp_retries2 tcp_keepalive_time tcp_keepalive_intvl tcp_keepalive_probes); }
reset; $program >/dev/null 2>&1; show
reset; sysctl --system >/dev/null 2>&1; show
"""
R2 = "net.ipv4.tcp_retries2"
e = "/etc/sysctl.d/"
u = "/usr/lib/sysctl.d/"
ROWS = [
("name order beats directory",{u+"90-a.conf":f"{R2}=11\n",e+"50-x.conf":f"{R2}=22\n"}),
("same name in etc masks usr",{u+"50-x.conf":f"{R2}=11\nnet.ipv4.tcp_keepalive_time=5\n",e+"50-x.conf":f"{R2}=22\n"}),
("run masks local and usr",{"/run/sysctl.d/50-x.conf":f"{R2}=12\n","/usr/local/lib/sysctl.d/50-x.conf":f"{R2}=13\n",u+"50-x.conf":f"{R2}=11\n"}),
("etc masks run",{"/run/sysctl.d/50-x.conf":f"{R2}=12\n",e+"50-x.conf":f"{R2}=13\n"}),
("local masks usr",{"/usr/local/lib/sysctl.d/50-x.conf":f"{R2}=13\n",u+"50-x.conf":f"{R2}=11\n"}),
("dev null masks",{u+"50-x.conf":f"{R2}=11\n",e+"50-x.conf":{"link":"/dev/null"}}),
("sysctl.conf without symlink",{"/etc/sysctl.conf":f"{R2}=11\n"}),
("sysctl.conf and zz-x",{"/etc/sysctl.conf":f"{R2}=11\n",e+"99-sysctl.conf":{"link":"../sysctl.conf"},e+"zz-x.conf":f"{R2}=22\n"}),
("10-a and 9-a",{e+"10-a.conf":f"{R2}=10\n",e+"9-a.conf":f"{R2}=9\n"}),
("slash form later",{e+"a.conf":f"{R2}=10\nnet/ipv4/tcp_retries2=9\n"}),
("dash",{e+"a.conf":f"-{R2}=10\n"}),
("glob, explicit before",{e+"a.conf":f"{R2}=10\n",e+"b.conf":"net.ipv4.tcp_retries*=9\n"}),
("glob, explicit after",{e+"a.conf":"net.ipv4.tcp_retries*=9\n",e+"b.conf":f"{R2}=10\n"}),
("glob alone",{e+"a.conf":"net.ipv4.tcp_keepalive_*=9\n"}),
("two globs",{e+"a.conf":"net.ipv4.tcp_retries*=9\n",e+"b.conf":"net.ipv4.tcp_retr*=8\n"}),
("two globs, same value again",{e+"a.conf":"net.ipv4.tcp_retries*=9\n",e+"b.conf":"net.ipv4.tcp_retr*=8\n",e+"c.conf":"net.ipv4.tcp_retries*=9\n"}),
("two globs, other value again",{e+"a.conf":"net.ipv4.tcp_retries*=9\n",e+"b.conf":"net.ipv4.tcp_retr*=8\n",e+"c.conf":"net.ipv4.tcp_retries*=7\n"}),
("excluded from glob",{e+"a.conf":f"net.ipv4.tcp_keepalive_*=9\n-net.ipv4.tcp_keepalive_time\n"}),
("excluded before glob",{e+"a.conf":f"-net.ipv4.tcp_keepalive_time\nnet.ipv4.tcp_keepalive_*=9\n"}),
("exclusion after explicit",{e+"a.conf":f"{R2}=10\n-{R2}\n"}),
("explicit after exclusion",{e+"a.conf":f"-{R2}\n{R2}=10\n"}),
("inline note",{e+"a.conf":f"{R2} = 66 # note\n"}),
("empty value",{e+"a.conf":f"{R2} =\nnet.ipv4.tcp_keepalive_time = 5\n"}),
("garbage value",{e+"a.conf":f"{R2} = x\nnet.ipv4.tcp_keepalive_time = 5\n"}),
("garbage after good",{e+"a.conf":f"{R2} = 10\n{R2} = x\n"}),
("good after garbage",{e+"a.conf":f"{R2} = x\n{R2} = 10\n"}),
("unknown key",{e+"a.conf":f"net.ipv4.nonesuch = 1\n{R2} = 10\n"}),
("hidden",{e+".x.conf":f"{R2}=10\n"}),
("no .conf",{e+"x":f"{R2}=10\n",e+"y.conf.bak":f"{R2}=11\n"}),
("hex and octal",{e+"a.conf":f"{R2}=0x10\nnet.ipv4.tcp_keepalive_time=010\n"}),
("spaces and tabs",{e+"a.conf":f"\t{R2}\t=\t10 \n"}),
("crlf",{e+"a.conf":f"{R2} = 10\r\n"}),
("comments",{e+"a.conf":f"# {R2}=3\n; {R2}=4\n  # {R2}=5\n"}),
("glob in sysctl.conf only",{"/etc/sysctl.conf":"net.ipv4.tcp_retr*=9\n",e+"a.conf":f"{R2}=10\n"}),
("no assignment",{e+"a.conf":f"{R2}\n{R2} 10\nnet.ipv4.tcp_keepalive_time=5\n"}),
("leading slash",{e+"a.conf":f"/net/ipv4/tcp_retries2=10\n"}),
("colon",{e+"a.conf":f"{R2}: 10\n"}),
("two values",{e+"a.conf":f"{R2}=10 11\n"}),
("nothing",{}),
("braces without a star",{e+"a.conf":"net.ipv4.tcp_{retries2,x}=10\n"}),
("braces with a star",{e+"a.conf":"net.ipv4.tcp_{retries2,x}*=10\n"}),
("values out of range",{e+"a.conf":"net.ipv4.tcp_retries2=256\nnet.ipv4.tcp_keepalive_probes=-1\nnet.ipv4.tcp_keepalive_time=-3\nnet.ipv4.tcp_keepalive_intvl=40000\n"}),
("values at the edge",{e+"a.conf":"net.ipv4.tcp_retries2=255\nnet.ipv4.tcp_keepalive_probes=0\nnet.ipv4.tcp_keepalive_time=0\nnet.ipv4.tcp_keepalive_intvl=2147483\n"}),
("jiffies overflow",{e+"a.conf":"net.ipv4.tcp_keepalive_time=2147483647\nnet.ipv4.tcp_keepalive_intvl=99999999\n"}),
]


def run(files):
    """The values after systemd-sysctl, and after `sysctl --system`."""
    with tempfile.TemporaryDirectory() as tree:
        for folder in FOLDERS:
            os.makedirs(f"{tree}/{folder}")
        for path, content in files.items():
            if isinstance(content, dict):
                os.symlink(content["link"], tree + path)
            else:
                with open(tree + path, "w", newline="") as out:
                    out.write(content)
        command = ["unshare", "-n", "-m", "sh", "-c", INSIDE, "sh", tree, PROGRAM]
        lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    return [dict(zip(KEYS, map(int, line.split()))) for line in lines]


def line(r):
    k=r.choice(["net.ipv4.tcp_retries2"]*3+KEYS+["net/ipv4/tcp_retries2","net.ipv4.tcp_*","net.ipv4.tcp_keepalive_*","net.ipv4.tcp_retries?","net/ipv4/tcp_retr*","net.ipv4.tcp_retries[12]","net.ipv4.*_retries2","/net/ipv4/tcp_retries2","net.ipv4/tcp_retries2","net.ipv4.tcp_retries2 x","*.ipv4.tcp_retries2","net//ipv4/tcp_retries2"])
    v=r.choice([str(r.randrange(3,14))]*12+["7 # note","5;x","","x","0x9","010","  8\t","-3","6 7","\"6\"","11,12","300","99999999999","+6"])
    f=r.choice(["{k} = {v}"]*6+["{k}={v}","-{k} = {v}","- {k} = {v}","-{k}","{k}","  {k} = {v}","#{k} = {v}",";{k} = {v}"," # {k} = {v}","{k} = {v}\r","{k} = ={v}","{k}: {v}","\t{k}\t=\t{v}  "])
    return f.format(k=k,v=v)


def case(r):
    files={}
    for _ in range(r.randrange(1,5)):
        d=r.choice(['/etc','/run','/usr/local/lib','/usr/lib'])+'/sysctl.d/'
        n=r.choice(['10-a.conf','9-a.conf','50-x.conf','99-z.conf','zz.conf','.x.conf','nope','A.conf','.conf','x.conf~','99-sysctl.conf','x.CONF'])
        if d+n in files: continue
        if r.random()<0.08: files[d+n]={"link":"/dev/null"}
        else: files[d+n]="".join(line(r)+r.choice(["\n"]*8+["\n\n",""]) for _ in range(r.randrange(0,5)))
    if r.random()<.3:
        files['/etc/sysctl.conf']="".join(line(r)+"\n" for _ in range(r.randrange(0,3)))
        if r.random()<.5: files['/etc/sysctl.d/99-sysctl.conf']={"link":"../sysctl.conf"}
    return files


def main():
    count, seed = int(sys.argv[1]), int(sys.argv[2])
    rng = random.Random(seed)
    cases = ROWS + [(f"generated {number}", case(rng)) for number in range(count)]
    lines = []
    for name, files in cases:
        systemd, procps = run(files)
        lines.append(json.dumps(dict(name=name, files=files, systemd=systemd, procps=procps)))
    print("[\n" + ",\n".join(lines) + "\n]")


if __name__ == "__main__":
    main()
