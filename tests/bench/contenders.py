"""Who starts a VM in tests/bench/launch, each in the way that is usual for it: plain QEMU, vmrun, libvirt. A contender has start(name),
which returns when the guest may run, stop(name), stop_by_signal(name) and stop_by_command(name) where it has them, and cpu(name): the
seconds of user and system time that a start took, QEMU's own excluded."""
import fcntl, json, os, select, signal, socket, subprocess, threading, time

POOL = "/sys/devices/system/node/node0/hugepages/hugepages-2048kB/"


def number(path):
    with open(path) as file:
        return int(file.read())


def change_pool(pages):  # by so many: others may have pages of it, too
    with open(POOL + "nr_hugepages", "r+") as file:
        file.write(str(number(POOL + "nr_hugepages") + pages))


def cpu_list(text):
    cpus = set()
    for part in text.split(","):
        first, _, last = part.partition("-")
        cpus.update(range(int(first), int(last or first) + 1))
    return cpus


def cpus_of(value):  # a CPU set in a plan: "0-1" or [0, 1]
    return cpu_list(value) if isinstance(value, str) else set(value)


def cpu_seconds(pid):
    """CPU time of one process by the scheduler's own count (all its threads that live), and of the children that it waited for. Not of
    threads that have ended: vmrun's fill the guest's memory, which would be QEMU's work, and with plain QEMU and libvirt is."""
    total = 0
    for tid in os.listdir("/proc/%d/task" % pid):
        with open("/proc/%d/task/%s/schedstat" % (pid, tid)) as file:
            total += int(file.read().split()[0])
    with open("/proc/%d/stat" % pid) as file:
        waited_for = file.read().rsplit(")", 1)[1].split()[13:15]
    return total / 1e9 + sum(map(int, waited_for)) / os.sysconf("SC_CLK_TCK")


def pss_kib(pid):
    with open("/proc/%d/smaps_rollup" % pid) as file:
        return next(int(line.split()[1]) for line in file if line.startswith("Pss:"))


def run_timed(argv, env, good=(0,)):
    """Runs a command to its end: its user and system seconds. good: the exit codes of one that did its work."""
    null = os.open("/dev/null", os.O_RDWR)
    actions = [(os.POSIX_SPAWN_DUP2, null, fd) for fd in range(3)]
    pid = os.posix_spawnp(argv[0], argv, env, file_actions=actions)
    os.close(null)
    _, status, usage = os.wait4(pid, 0)
    code = os.waitstatus_to_exitcode(status)
    if code not in good:
        raise RuntimeError("%s ended with %d" % (" ".join(argv), code))
    return usage.ru_utime + usage.ru_stime


def made_by_qemu(word, pages):
    """An object of QEMU's whose file vmrun makes and fills, as one whose file QEMU makes itself."""
    if not word.startswith('{"qom-type":"memory-backend-file"'):
        return word
    memory = json.loads(word)
    page = pages.get(memory["mem-path"])
    if page is None:
        return word
    for key in ("mem-path", "share"):
        del memory[key]
    number = int(page.rstrip("KMG")) << {"K": 10, "M": 20, "G": 30}[page[-1]] if isinstance(page, str) else page
    return json.dumps({**memory, "qom-type": "memory-backend-memfd", "hugetlb": True, "hugetlbsize": number})


class Plan:
    """A plan as `vmrun plan --json` prints it, ready to be carried out by hand."""

    def __init__(self, plan):
        steps = [step.get("step", step) for step in plan["steps"]]
        self.steps = [next(iter((kind, body) for kind, body in step.items() if isinstance(body, dict))) for step in steps]
        start = next(body for kind, body in self.steps if kind == "start_qemu")
        pages = {"/proc/self/fd/%d" % body["fd"]: body["page"] for kind, body in self.steps if kind == "make_guest_memory"}
        self.argv = [made_by_qemu(word, pages) for word in start["child"]["argv"]]
        self.monitor_fd = start["monitor_fd"]
        placement = plan["placement"]
        self.emulator = cpus_of(placement["emulator"])
        self.vcpus = {seat["vcpu"]: {seat["cpu"]} if seat.get("cpu") is not None else self.emulator for seat in placement["vcpus"]}
        self.iothreads = {pin["id"]: cpus_of(pin["cpus"]) for pin in plan["iothreads"]}


class Qmp:
    def __init__(self, sock):
        self.sock, self.buffer = sock, b""

    def line(self):
        while b"\n" not in self.buffer:
            data = self.sock.recv(65536)
            if not data:
                raise RuntimeError("QEMU closed its monitor")
            self.buffer += data
        line, _, self.buffer = self.buffer.partition(b"\n")
        return json.loads(line)

    def ask(self, command):
        self.sock.sendall(b'{"execute":"%s"}' % command.encode())
        while True:
            reply = self.line()
            if "return" in reply:
                return reply["return"]
            if "error" in reply:
                raise RuntimeError(reply["error"])


class PlainQemu:
    """The plainest launcher there is, after which every thread is pinned and the guest runs."""

    def __init__(self, plan, directory, raise_pool=0):
        os.mkdir(directory)
        self.directory, self.raised = directory, raise_pool
        self.paths = []
        if raise_pool:
            change_pool(raise_pool)
        opened, files, sockets = {}, [], []
        for kind, step in plan.steps:
            if kind == "open_file":
                flags = (os.O_RDWR if step["writable"] else os.O_RDONLY) | (os.O_DIRECT if step.get("direct") else 0)
                opened[step["fd"]] = os.open(step["path"], flags)
                files.append(opened[step["fd"]])
            elif kind == "listen":
                listener = socket.socket(socket.AF_UNIX)
                self.paths.append(os.path.join(directory, os.path.basename(step["path"])))
                listener.bind(self.paths[-1])
                listener.listen(8)
                sockets.append(listener)
                opened[step["fd"]] = listener.fileno()
        ours, theirs = socket.socketpair()
        sockets.append(theirs)
        opened[plan.monitor_fd] = theirs.fileno()
        self.pid = self.spawn(plan, opened)
        for fd in files:
            os.close(fd)
        for sock in sockets:
            sock.close()
        self.talk(plan, ours)

    def spawn(self, plan, opened):
        log = os.open(self.directory + "/log", os.O_WRONLY | os.O_CREAT, 0o644)
        null = os.open("/dev/null", os.O_RDONLY)
        actions = [(os.POSIX_SPAWN_DUP2, null, 0), (os.POSIX_SPAWN_DUP2, log, 1), (os.POSIX_SPAWN_DUP2, log, 2)]
        lifted = []  # sources above every target, so that no dup2 overwrites one that is still to come
        for target, source in opened.items():
            lifted.append(fcntl.fcntl(source, fcntl.F_DUPFD_CLOEXEC, 500))
            actions.append((os.POSIX_SPAWN_DUP2, lifted[-1], target))
        # a session of its own, as vmrun and libvirt give it: on a busy machine a session has a share of the CPUs (autogroup)
        pid = os.posix_spawn(plan.argv[0], plan.argv, os.environ, file_actions=actions, setsid=True)
        for fd in lifted + [log, null]:
            os.close(fd)
        return pid

    def talk(self, plan, sock):
        self.qmp = Qmp(sock)
        self.qmp.line()
        self.qmp.ask("qmp_capabilities")
        wanted = {cpu["thread-id"]: plan.vcpus[cpu["cpu-index"]] for cpu in self.qmp.ask("query-cpus-fast")}
        if plan.iothreads:
            for iothread in self.qmp.ask("query-iothreads"):
                wanted[iothread["thread-id"]] = plan.iothreads[iothread["id"]]
        for tid in map(int, os.listdir("/proc/%d/task" % self.pid)):
            cpus = wanted.get(tid) or plan.emulator
            if cpus:
                os.sched_setaffinity(tid, cpus)
        self.qmp.ask("cont")

    def end(self, by_command=False):
        """SIGKILL (by_command: kill(1) sends it), wait, put back what was made."""
        if by_command:
            run_timed(["/bin/kill", "-KILL", str(self.pid)], os.environ)
        else:
            os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        for path in self.paths + [self.directory + "/log"]:
            os.unlink(path)
        os.rmdir(self.directory)
        if self.raised:
            change_pool(-self.raised)


class Plain:
    title = "QEMU"

    def __init__(self, run, plans):
        self.run, self.plans, self.running = run, plans, {}

    def start(self, name, reserve=0):
        self.running[name] = PlainQemu(self.plans[name], "%s/plain-%s" % (self.run, name), reserve)

    def stop(self, name):
        self.running.pop(name).end()

    stop_by_signal = stop

    def stop_by_command(self, name):
        self.running.pop(name).end(by_command=True)

    def cpu(self, name):
        return None


class Vmrun:
    def __init__(self, title, binary, env, specs):
        self.title, self.binary, self.specs, self.spent = title, binary, specs, {}
        # what one build has found out of this host another does not believe, and replaces
        self.env = dict(env, VMRUN_CACHE_DIR="%s/%s" % (env["VMRUN_CACHE_DIR"], title))

    def start(self, name, reserve=0):
        self.spent[name] = run_timed([self.binary, "start", self.specs[name]], self.env)

    def stop(self, name):
        run_timed([self.binary, "kill", name], self.env)

    stop_by_command = stop

    def stop_by_signal(self, name):
        """QEMU is sent SIGKILL, by whom does not matter; its keeper puts everything back, and ends."""
        with open("%s/%s/state.json" % (self.env["VMRUN_RUN_DIR"], name)) as file:
            qemu = json.load(file)["qemu"]["pid"]
        keeper = os.pidfd_open(self.keeper(name))
        os.kill(qemu, signal.SIGKILL)
        select.select([keeper], [], [])
        os.close(keeper)
        if os.path.exists("%s/%s" % (self.env["VMRUN_RUN_DIR"], name)):
            raise RuntimeError("its keeper left something of " + name)

    def keeper(self, name):
        with open("%s/%s/owner" % (self.env["VMRUN_RUN_DIR"], name)) as file:
            return json.load(file)["pid"]

    def cpu(self, name):
        return self.spent[name] + cpu_seconds(self.keeper(name))


# As root, in a mount namespace: libvirt's own directories and users are of that namespace alone, and end with it.
DAEMONS = r"""
set -e
for d in /run /var/lib /var/cache /var/log /etc/libvirt; do mount -t tmpfs -o mode=755 bench $d; done
mkdir -p /run/libvirt /var/lib/libvirt /var/log/libvirt /var/cache/libvirt $1/huge
mount -t hugetlbfs -o pagesize=2M bench $1/huge
for f in passwd group; do cp /etc/$f $1/$f; done
getent passwd libvirt-qemu >/dev/null || {
    echo libvirt-qemu:x:64055:64055::/var/lib/libvirt:/usr/sbin/nologin >>$1/passwd; mount --bind $1/passwd /etc/passwd
    echo libvirt-qemu:x:64055: >>$1/group; mount --bind $1/group /etc/group; }
printf 'hugetlbfs_mount = "%s/huge"\nsecurity_driver = "none"\nuser = "root"\ngroup = "root"\n' $1 >/etc/libvirt/qemu.conf
printf 'unix_sock_dir = "%s/socket"\nauth_unix_rw = "none"\n' $1 >$1/libvirtd.conf
virtlogd & echo $! >$1/virtlogd.pid
echo $$ >$1/libvirtd.pid
exec libvirtd -f $1/libvirtd.conf
"""
# libvirtd's QEMUs are daemons: where nobody reaps them at once, each of its waits for one becomes a long one.
REAPER = """
import ctypes, os, sys
ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER
daemons = os.posix_spawnp(sys.argv[1], sys.argv[1:], os.environ)
try:
    while os.wait()[0] != daemons: pass
    while os.wait(): pass
except ChildProcessError: pass
"""


class Libvirt:
    title = "libvirt"

    def __init__(self, work, vmrun):
        self.work = work + "/libvirt"
        os.makedirs(self.work + "/socket")
        self.vmrun, self.specs, self.before, self.pids = vmrun, [], {}, []
        with open(self.work + "/daemons.sh", "w") as file:
            file.write(DAEMONS)
        self.log = open(self.work + "/log", "w")
        self.reaper = subprocess.Popen(["python3", "-c", REAPER, "unshare", "--mount", "--propagation", "private", "bash", self.work + "/daemons.sh", self.work],
                                       stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)
        self.uri = "qemu+unix:///system?socket=%s/socket/libvirt-sock" % self.work

    def begin(self, specs):
        self.specs = specs
        for _ in range(200):
            if self.virsh("version").returncode == 0:
                break
            time.sleep(0.1)
        else:
            with open(self.work + "/log") as file:
                raise RuntimeError("libvirtd does not answer: " + file.read()[-2000:])
        self.pids = [number("%s/%s.pid" % (self.work, name)) for name in ("libvirtd", "virtlogd")]
        for name in specs:
            self.define(name)

    def virsh(self, *words):
        return subprocess.run(["virsh", "-q", "-c", self.uri, *words], stdin=subprocess.DEVNULL, capture_output=True, text=True)

    def define(self, name):
        domain = subprocess.run([self.vmrun.binary, "export", self.specs[name], "--to", "libvirt"], env=self.vmrun.env, capture_output=True, text=True)
        path = "%s/%s.xml" % (self.work, name)
        with open(path, "w") as file:
            file.write(domain.stdout)
        told = self.virsh("define", path)
        if told.returncode:
            raise RuntimeError("libvirt does not take the domain: " + told.stderr)

    def start(self, name, reserve=0):
        before = sum(map(cpu_seconds, self.pids))
        spent = run_timed(["virsh", "-q", "-c", self.uri, "start", name], os.environ)
        self.before[name] = spent + sum(map(cpu_seconds, self.pids)) - before

    def stop(self, name):
        run_timed(["virsh", "-q", "-c", self.uri, "destroy", name], os.environ)

    stop_by_command = stop

    def cpu(self, name):
        return self.before[name]

    def pss(self):
        return sum(map(pss_kib, self.pids))

    def end(self):
        for name in self.specs:
            self.virsh("destroy", name)
        for pid in self.pids:
            os.kill(pid, signal.SIGTERM)
        self.reaper.wait(20)
        self.log.close()


def all_at_once(work, names):
    """work(name) for each, in threads of their own; raises what one of them raised."""
    failures = []

    def one(name):
        try:
            work(name)
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=one, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
