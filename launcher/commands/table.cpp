// The table of subcommands; completion and man page are printed from it.
#include <fmt/format.h>

#include <algorithm>

#include "launcher/commands/bench.hpp"
#include "launcher/commands/commands.hpp"

namespace launcher::commands {

namespace {

constexpr OptionInfo json{"json", "", "print JSON for a program"};
constexpr OptionInfo overrides{"set", "KEY=VALUE", "override a key of the spec (may be given several times)", true};
constexpr OptionInfo stop_timeout{"stop-timeout", "SECONDS", "how long the guest may take to power down (60)"};
constexpr OptionInfo timings{"timings", "", "print how long each stage of the start took"};
constexpr OptionInfo verbose{"verbose", "", "when the start fails, print QEMU's command line"};
constexpr OptionInfo record_to{"record", "DIR", "write a record of this run there: its lock, and what is in effect"};
constexpr OptionInfo identity{"identity", "",
                              "also write down what may name this host: the values of its boot line's words"};
constexpr OptionInfo locked{"locked", "", "start it as SPEC.lock says, or not at all"};
constexpr OptionInfo allow{"allow", "GROUP",
                           "let drifts of this group pass (may be given several times); the record says so", true};
constexpr OptionInfo unit_root{"root", "DIR", "in the system whose root is there: an image"};
constexpr OptionInfo no_console{"no-console", "", "do not connect this terminal to the guest's console"};
constexpr OptionInfo guest_user{"user", "NAME", "who to be in the guest (that of [cloud_init], else root)"};
constexpr OptionInfo guest_timeout{"timeout", "SECONDS", "how long the guest's sshd is waited for (180)"};
constexpr OptionInfo wait_timeout{"timeout", "SECONDS", "how long to wait"};

constexpr OptionInfo other_host{
    "host", "FILE", "plan for another machine: a file of `vmrun host --json`, hwloc XML, or synthetic:DESCRIPTION"};
constexpr std::size_t most_words = 4096;  // COMMAND's

std::vector<OptionInfo> with_bench(std::vector<OptionInfo> options) {
  std::ranges::move(bench_options(), std::back_inserter(options));
  return options;
}

}  // namespace

// NOLINTNEXTLINE(readability-function-size): a table
const std::vector<Command>& command_table() {
  static const std::vector<Command> table = {
      {"run",
       "run SPEC",
       "start the VM, stay with it, and put everything back when it ends (also: vmrun SPEC)",
       {overrides, json, timings, verbose, stop_timeout, record_to, identity, locked, allow, no_console},
       1,
       RUNS(run)},
      {"start",
       "start SPEC",
       "start the VM and return when it runs",
       {overrides, json, timings, verbose, stop_timeout, record_to, identity, locked, allow},
       1,
       RUNS(start)},
      {"plan",
       "plan SPEC",
       "show what run would do, without doing anything",
       {overrides,
        json,
        {"explain", "", "give each argument's and step's reason and origin"},
        {"shell", "", "print only the command line, for a shell"},
        other_host},
       1,
       RUNS(plan)},
      {"guest-setup",
       "guest-setup SPEC",
       "print what [guest] asks for as a shell script, for a guest without systemd, cloud-init and agent",
       {overrides, other_host},
       1,
       RUNS(guest_setup)},
      {"lock",
       "lock SPEC",
       "write down all that decides a run of it here: placement, command line, digests, host",
       {overrides, identity, {"output", "FILE", "write it there, not to stdout (also -o)", false, 'o'}},
       1,
       RUNS(lock)},
      {"replay",
       "replay LOCK",
       "start a VM as its lock says, or name all that has changed since and start nothing (exit code 2)",
       {allow, json, timings, verbose, stop_timeout, record_to, identity, no_console},
       1,
       RUNS(replay)},
      {"diff",
       "diff A B",
       "what differs between two locks, records, specs or running VMs (exit code 0: nothing; 1: something; 2: a "
       "problem)",
       {overrides, json, identity},
       2,
       RUNS(diff)},
      {"measure", "measure SPEC -- COMMAND",
       "start the VM, run COMMAND, read its numbers, stop it; again and again, for a boot is the sample",
       with_bench({{"runs", "N", "how many boots count (5)"},
                   {"warmup", "K", "how many before those do not (0)"},
                   {"retries", "N", "how many that were disturbed are done again (as many as --runs)"},
                   {"bencher", "", "print Bencher's metric format at the end"}}),
       most_words, RUNS(measure)},
      {"ablate", "ablate SPEC --knob KEY=VALUE -- COMMAND",
       "what each knob does to COMMAND's numbers: boots in turn (A B B A), the same VM twice first",
       with_bench({{"knob", "KEY=VALUE",
                    "a key that differs from the spec, or 'bare': without the VM (may be given several times)", true},
                   {"all", "", "each key that the spec's profile set, back to what it is without"},
                   {"blocks", "N", "how many turns of four boots for each knob (5)"},
                   {"svg", "FILE", "draw ratios and intervals, by gnuplot"}}),
       most_words, RUNS(ablate)},
      {"new",
       "new NAME",
       "write a spec that fits this host, and a disk beside it: on top of a cloud image, or empty for an installer",
       {{"image", "FILE", "a disk that boots (raw or qcow2), which is never written"},
        {"iso", "FILE", "an installer's CD; the new disk is empty, and tried first"},
        {"windows", "", "for Windows: its profile, and sizes"},
        {"drivers", "FILE", "a second CD (virtio-win.iso)"},
        {"size", "SIZE", "of the disk (20G, or what the image has)"},
        {"cpus", "N", "vCPUs (half of this host's, at most 4)"},
        {"memory", "SIZE", "memory (a quarter of what is free, at most 4G)"},
        {"ssh-key", "FILE", "a public key that may log in, beside the VM's own"},
        {"user", "NAME", "who is made in the guest (whoever you are)"},
        {"profile", "NAME", "a profile of defaults"},
        {"bridge", "NAME", "a bridge of this host for its network"},
        {"start", "", "start it, too"},
        {"list", "", "the profiles there are"},
        json},
       1,
       RUNS(new_vm)},
      {"validate",
       "validate SPEC",
       "say what is wrong with a spec by itself, whatever this host has",
       {overrides, json},
       1,
       RUNS(validate)},
      {"edit", "edit NAME", "open its spec in $EDITOR, then say what is wrong with it", {json}, 1, RUNS(edit)},
      {"enable",
       "enable SPEC",
       "start it with this host, as the unit vmrun@NAME, once the mounts that its files need are there",
       {unit_root},
       1,
       RUNS(enable)},
      {"disable", "disable NAME", "no longer", {unit_root}, 1, RUNS(disable)},
      {"list",
       "list",
       "the VMs that run here",
       {json, {"all", "", "those that ran as well, and how they ended"}},
       0,
       RUNS(list)},
      {"show", "show NAME", "a VM's threads and memory: where they should be, where they are", {json}, 1, RUNS(show)},
      {"verify",
       "verify NAME",
       "prove that threads, memory, devices, host and guest are as planned (exit code 1: not; 5: not all could be "
       "read)",
       {json},
       1,
       RUNS(verify)},
      {"watch",
       "watch NAME [-- COMMAND...]",
       "measure a running VM for a while, or while COMMAND runs, and say whether anything disturbed it (exit code 4: "
       "it was; 5: not all could be read)",
       {json,
        {"for", "TIME", "the window's length: 60s, 5m, 2h (10s; with a command as long as it runs)"},
        {"live", "", "show each second on this terminal"},
        {"until-clean", "N", "take up to N windows, until one is clean"},
        {"threshold", "NAME=NUMBER", "from where on something counts, by the names that an offender has", true},
        {"svg", "FILE", "draw the window as a time line, by gnuplot"}},
       most_words,
       RUNS(watch)},
      {"metrics",
       "metrics",
       "what all VMs of this host have counted, for Prometheus",
       {{"textfile", "FILE", "replace this file, in node_exporter's directory for text files (NAME.prom)"},
        {"serve", "ADDRESS:PORT", "answer scrapes of http://ADDRESS:PORT/metrics"},
        {"openmetrics", "", "as OpenMetrics 1.0, not in Prometheus' text format"}},
       0,
       RUNS(metrics)},
      {"stop",
       "stop NAME",
       "power the guest down; if it does not: quit, SIGTERM, SIGKILL",
       {json, {"timeout", "SECONDS", "how long the guest may take to power down (60)"}},
       1,
       RUNS(stop)},
      {"kill", "kill NAME", "end it at once", {json}, 1, RUNS(kill)},
      {"pause", "pause NAME", "stop its vCPUs", {json}, 1, RUNS(pause)},
      {"resume", "resume NAME", "let its vCPUs run again", {json}, 1, RUNS(resume)},
      {"reset", "reset NAME", "press its reset button", {json}, 1, RUNS(reset)},
      {"ssh",
       "ssh NAME [COMMAND...]",
       "a shell in the guest, or a command: by vsock, a forwarded port or its address, with the VM's own keys",
       {guest_user, guest_timeout, {"bridge", "", "carry stdin and stdout to the guest's sshd (for ProxyCommand)"}},
       1000,
       RUNS(ssh),
       {},
       true},
      {"exec",
       "exec NAME -- COMMAND...",
       "run a program in the guest, by its agent (as root) or else by ssh; stdout, stderr and exit code are its own",
       {{"stdin", "", "hand on what stdin has"}, guest_user, guest_timeout},
       1000,
       RUNS(exec),
       {},
       true},
      {"copy",
       "copy FROM TO",
       "copy files or directories; one of the two is NAME:PATH",
       {guest_user, guest_timeout},
       2,
       RUNS(copy)},
      {"console",
       "console NAME",
       "connect this terminal to its serial console (Ctrl-] leaves)",
       {{"port", "N", "to COM2, COM3 or COM4: a [[serial]] of its spec"}},
       1,
       RUNS(console)},
      {"view", "view NAME", "show its screen ([display]) in the viewer that is there", {}, 1, RUNS(view)},
      {"qmp",
       "qmp NAME COMMAND",
       "send a QMP command, by name or as JSON, and print what comes back",
       {json, wait_timeout},
       2,
       RUNS(qmp)},
      {"agent",
       "agent NAME COMMAND",
       "send a command to the guest's agent (qemu-ga), by name or as JSON, and print what comes back",
       {json, wait_timeout},
       2,
       RUNS(agent)},
      {"set",
       "set NAME KEY=VALUE",
       "change a running VM: memory=SIZE (up to memory.max), balloon=SIZE, or cdrom[N]=FILE (cdrom[N]= takes it out)",
       {json, wait_timeout},
       2,
       RUNS(set)},
      {"wait",
       "wait NAME",
       "wait until it has ended and everything is put back, and tell how it ended",
       {json, wait_timeout, {"ready", "", "only until the guest is ready: its agent or its sshd answers"}},
       1,
       RUNS(wait)},
      {"log",
       "log NAME",
       "how its runs ended, and what guest and QEMU said last",
       {json,
        {"all", "", "the last words of every run, not of the last one only"},
        {"timings", "", "how long each stage of its starts took, side by side"}},
       1,
       RUNS(log)},
      {"forget",
       "forget NAME",
       "remove what is kept of a VM between its runs: UEFI variables, TPM's memory, records",
       {json, {"maker", "", "only who made it, so that another VM of this name may take the rest over"}},
       1,
       RUNS(forget)},
      {"import",
       "import FILE",
       "write a spec from a libvirt domain (virsh dumpxml; - is standard input) or a QEMU command line (--argv), and "
       "report what became of each part (exit code 2: something is refused; 3: something is dropped)",
       {json,
        {"output", "FILE", "write the spec there (-o); default: standard output, the report on standard error", false,
         'o'},
        {"from", "virsh:NAME", "ask virsh for the domain, and for the bridges of its networks"},
        {"argv", "", "the file has a QEMU command line: `qm showcmd ID --pretty`, a script, /proc/PID/cmdline"},
        {"replace-pins", "", "let vmrun choose the CPUs, in place of the domain's pins"},
        {"adopt-state", "", "copy UEFI variables and the TPM's memory to vmrun's state of the VM"},
        {"tpm-state", "DIR", "where swtpm keeps that memory (tpm2-00.permall); default: where libvirt has it"}},
       1,
       RUNS(import)},
      {"export",
       "export SPEC",
       "write a spec's plan for others: a libvirt domain, or a shell script with QEMU alone (exit code 3: they cannot "
       "say all of it)",
       {overrides, json, {"to", "libvirt|shell|systemd-run", "what to write"}, other_host},
       1,
       RUNS(export_spec)},
      {"recover", "recover", "put back what a crash of vmrun or of this host left", {json}, 0, RUNS(recover)},
      {"host",
       "host",
       "this machine as vmrun sees it, and who has which CPUs and pages",
       {json, {"svg", "FILE", "draw it, with the running VMs on it, by hwloc's lstopo"}},
       0,
       RUNS(host),
       host_subcommands()},
      {"schema", "schema", "print the JSON schema of a spec, for an editor's completion", {}, 0, RUNS(schema)},
      {"completion", "completion [SHELL]", "print a completion script for bash, zsh or fish", {}, 1, RUNS(completion)},
      {"man", "man", "print the manual page", {}, 0, RUNS(man)},
  };
  return table;
}

const Command* find_command(std::vector<std::string>& words) {
  const std::vector<Command>* rows = &command_table();
  const Command* found = nullptr;
  while (!words.empty()) {
    const auto row = std::find_if(rows->begin(), rows->end(), [&](const Command& c) { return c.name == words[0]; });
    if (row == rows->end()) break;
    found = &*row;
    rows = &row->subcommands;
    words.erase(words.begin());
  }
  return found;
}

}  // namespace launcher::commands
