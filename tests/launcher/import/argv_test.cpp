// What becomes of command lines: files of argv/, each with what the import says of it beside it, compared whole; and what holds for all.
#include "launcher/import/argv.hpp"

#include <doctest/doctest.h>
#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "launcher/plan/plan.hpp"
#include "tests/launcher/plan/golden.hpp"
#include "tests/launcher/plan/spec_of.hpp"

namespace {

namespace fs = std::filesystem;
using launcher::Imported;
using launcher::ReportRow;
using launcher::Verb;

std::vector<fs::path> command_files() {
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(fs::path(VMRUN_TESTS) / "launcher/import/argv"))
    if (entry.path().extension() == ".sh") files.push_back(entry.path());
  std::ranges::sort(files);
  REQUIRE(files.size() >= 6);
  return files;
}

Imported from_argv(const std::string& text, const launcher::ImportOptions& options = {}) {
  auto result = launcher::import_argv(text, options);
  REQUIRE_MESSAGE(result, (result ? "" : result.error()));
  return std::move(*result);
}

// A small VM with these options behind it: the verb of a part, and a line of the spec.
void check_part(const std::string& options, std::string_view path, Verb verb, const std::string& line = "") {
  const Imported result = from_argv("kvm -nodefaults -m 1G " + options);
  INFO(options, "\n", result.spec, launcher::to_text(result.report));
  const auto row = std::ranges::find(result.report, path, &ReportRow::path);
  REQUIRE_MESSAGE(row != result.report.end(), path);
  CHECK_MESSAGE(row->verb == verb, path, ": ", name_of(row->verb), ", ", row->words);
  CHECK_MESSAGE(result.spec.find(line) != std::string::npos, line);
}

}  // namespace

TEST_CASE("import argv: what is said of each command line") {
  const bool update = std::getenv("VMRUN_UPDATE_GOLDEN") != nullptr;
  for (const fs::path& file : command_files()) {
    INFO(file.filename().string());
    const Imported result = from_argv(fakes::read_file(file));
    const std::string actual = result.spec + "---\n" + launcher::to_text(result.report);
    fs::path expected = file;
    expected.replace_extension(".expected");
    if (update) std::ofstream(expected, std::ios::binary) << actual;
    CHECK(fakes::read_file(expected) == actual);
  }
}

TEST_CASE("import argv: every spec can be planned") {
  const auto host = topology::read_host_argument("synthetic:pack:1 numa:2 core:8 pu:2");
  REQUIRE(host);
  for (const fs::path& file : command_files()) {
    const Imported result = from_argv(fakes::read_file(file));
    if (launcher::exit_code_of(result.report) == 2) continue;
    INFO(file.filename().string(), "\n", result.spec);
    const launcher::Spec spec = spec_of(result.spec);
    const auto plan =
        launcher::make_plan(spec, *host, {}, {}, golden::recorded_qemu("10.0"), launcher::assumed_facts(spec, *host));
    if (plan) continue;
    for (const launcher::Problem& problem : plan.error())
      FAIL_CHECK(problem.key << ": " << problem.what << "; " << problem.help);
  }
}

TEST_CASE("import argv: a row for each part of each option") {
  for (const fs::path& file : command_files()) {
    INFO(file.filename().string());
    const auto call = launcher::find_qemu_call(fakes::read_file(file));
    REQUIRE(call);
    const Imported result = from_argv(fakes::read_file(file));
    std::size_t parts = call->before.size();
    for (std::size_t i = 0; i < call->words.size(); ++i) {
      if (!call->words[i].text.starts_with('-')) continue;
      const bool takes = i + 1 < call->words.size() && !call->words[i + 1].text.starts_with('-');
      const std::string value = takes ? call->words[i + 1].text : "";
      const std::string name = call->words[i].text.substr(1);
      const bool whole =
          name == "append" || name == "fw_cfg" || name == "monitor" || name == "serial" || name == "global";
      parts += whole || value.empty() ? 1 : launcher::members_of(value).size();
    }
    CHECK(std::ranges::count_if(result.report, [](const ReportRow& row) { return row.line > 0; }) ==
          static_cast<std::ptrdiff_t>(parts));
  }
}

TEST_CASE("import argv: the guest's nodes") {
  const std::string backends =
      "-smp 4,sockets=2,cores=1,threads=2 -object memory-backend-ram,id=a,size=768M,host-nodes=1,policy=bind "
      "-object memory-backend-ram,id=b,size=256M ";
  check_part(
      backends + "-numa node,nodeid=1,memdev=b,cpus=1 -numa node,nodeid=0,memdev=a,cpus=0,cpus=2-3", "-numa,cpus",
      Verb::kept,
      "[[numa]]\nvcpus = \"0,2-3\"\nsize = \"768M\"\nnodes = \"1\"\n\n[[numa]]\nvcpus = \"1\"\nsize = \"256M\"\n");
  check_part(backends + "-numa node,memdev=a -numa node,memdev=b -numa dist,src=0,dst=1,val=22", "-numa,val",
             Verb::kept, "vcpus = \"2-3\"\nsize = \"256M\"\ndistances = [22, 10]\n");
  check_part(backends +
                 "-numa node,memdev=a -numa node,memdev=b -numa cpu,node-id=1,socket-id=0,thread-id=1 "
                 "-numa cpu,node-id=0,socket-id=0,thread-id=0 -numa cpu,node-id=0,socket-id=1",
             "-numa,socket-id", Verb::kept, "vcpus = \"1\"\n");
  check_part("-smp 2 -numa node,mem=512 -numa node,mem=512M,cpus=0-1", "-numa,mem", Verb::kept,
             "[[numa]]\nvcpus = \"none\"\nsize = \"512M\"\n");
  check_part("-smp 2 -numa node,mem=1G,cpus=0-1", "-numa", Verb::kept);
  check_part(backends +
                 "-numa node,memdev=a -numa node,memdev=b -numa "
                 "hmat-lb,initiator=0,target=0,hierarchy=memory,data-type=access-latency,latency=5",
             "-numa,latency", Verb::dropped);
}

TEST_CASE("import argv: what the importer does not know is told, and no secret is shown") {
  check_part("-device virtio-blk-pci,drive=a,novel=1 -drive if=none,id=a,file=/a.raw,format=raw,strange=2",
             "-device virtio-blk-pci,novel", Verb::dropped, "path = \"/a.raw\"");
  check_part("-drive if=virtio,file=/a.raw,format=raw,strange=2", "-drive,strange", Verb::dropped);
  check_part("-newest thing", "-newest", Verb::dropped);
  check_part("-device flux-capacitor,id=x", "-device flux-capacitor", Verb::dropped);
  const Imported result = from_argv("kvm -m 1G -object secret,id=s,data=hunter2 -vnc :1,password=hunter2");
  CHECK(launcher::to_text(result.report).find("hunter2") == std::string::npos);
  CHECK(result.spec.find("hunter2") == std::string::npos);
  CHECK(launcher::exit_code_of(result.report) == 3);
}

TEST_CASE("import argv: words as a shell has them") {
  const auto words = [](const std::string& text) {
    const auto call = launcher::find_qemu_call(text);
    REQUIRE_MESSAGE(call, (call ? "" : call.error()));
    std::string all;
    for (const launcher::ShellWord& word : call->words) all += "<" + word.text + ">";
    return all;
  };
  CHECK(words("kvm -m 1G") == "<-m><1G>");
  CHECK(words("/usr/bin/qemu-system-x86_64 -name 'a b' -append \"c \\\"d\\\" $x\"") ==
        "<-name><a b><-append><c \"d\" $x>");
  CHECK(words("kvm \\\n  -m \\\r\n 1G # no\n-S") == "<-m><1G>");
  CHECK(words("A=\"x y\"; B=${A}z\nsudo kvm -name $B-\"$A\" >/dev/null 2>&1 &") == "<-name><x><yz-x y>");
  CHECK(words("echo kvm\nkvm -m 1G; reboot") == "<-m><1G>");
  CHECK(words("kvm -name it\\'s") == "<-name><it's>");
  CHECK(words("O=\"-m 4G\"; O+=' -smp 2'\nkvm $O -name \"$O\" $E\"\"") == "<-m><4G><-smp><2><-name><-m 4G -smp 2><$E>");
  CHECK(words("a=(-m 4G # size\n -name 'x y')\na+=(-S)\nkvm \"${a[@]}\" -append \"${a[*]}\"") ==
        "<-m><4G><-name><x y><-S><-append><-m 4G -name x y -S>");
  CHECK(words("E= kvm $E -m 1G \"$E\"") == "<-m><1G><>");
  CHECK(words("kvm -m 1G \"$@\" $1") == "<-m><1G><$@><$1>");
  CHECK(words(std::string("/usr/bin/kvm\0-name\0a b\0-blockdev\0{\"driver\":\"file\"}\0", 50)) ==
        "<-name><a b><-blockdev><{\"driver\":\"file\"}>");
  std::string grows = "a=xxxxxxxxxxxxxxxx\n";
  for (int i = 0; i < 64; ++i) grows += "a=$a$a\n";
  const auto bounded = launcher::find_qemu_call(grows + "kvm -name $a");
  CHECK((!bounded || bounded->words.back().text.size() < launcher::most_argv));
  for (const char* wrong : {"", "ls -l", "kvm", "kvm -name 'a", "kvm -name \"a"})
    CHECK_MESSAGE(!launcher::find_qemu_call(wrong), wrong);
  CHECK(!launcher::import_argv("qemu-system-aarch64 -m 1G", {}));
}

TEST_CASE("import argv: disks and their caches") {
  const auto drive = [](const std::string& more, const std::string& line) {
    check_part("-drive file=/a.raw,format=raw,if=virtio" + more, "-drive", Verb::kept, line);
  };
  drive("", "cache = \"writeback\"");
  drive(",cache=none", "cache = \"none\"");
  drive(",cache=none,aio=native", "aio = \"native\"");
  drive(",discard=unmap,detect-zeroes=unmap", "discard = true\ndetect_zeroes = \"unmap\"");
  drive(",readonly=on", "read_only = true");
  drive(",bps=1048576,iops_rd=100", "bytes = \"1M\"\niops_read = 100");
  const std::string node =
      "-blockdev driver=raw,node-name=d,file.driver=file,file.filename=/a.raw,file.cache.direct=on ";
  check_part(node + "-device virtio-blk-pci,drive=d,write-cache=on", "-blockdev raw,file.filename", Verb::kept,
             "cache = \"none\"");
  check_part(node + "-device virtio-blk-pci,drive=d,write-cache=off", "-device virtio-blk-pci,write-cache", Verb::kept,
             "cache = \"directsync\"");
  check_part(
      "-object throttle-group,id=g,x-iops-total=50 -blockdev "
      "'{\"driver\":\"throttle\",\"node-name\":\"t\",\"throttle-group\":\"g\",\"file\":{\"driver\":\"file\","
      "\"filename\":\"/a.raw\"}}' "
      "-device virtio-blk-pci,drive=t",
      "-object throttle-group,x-iops-total", Verb::kept, "iops = 50");
  check_part("-drive file=nbd://h/x,format=raw,if=virtio", "-drive", Verb::refused);
  check_part("-drive file=/a.vmdk,format=vmdk,if=virtio", "-drive", Verb::refused);
  check_part("-blockdev driver=luks,node-name=l,file=x -device virtio-blk-pci,drive=l", "-blockdev luks",
             Verb::refused);
  drive(",bps=1048576,bps_max=2097152", "bytes = \"1M\"\nbytes_burst = \"2M\"");
  check_part("-drive driver=qcow2,file.driver=file,file.filename=/b.qcow2,if=virtio", "-drive,file.filename",
             Verb::kept, "path = \"/b.qcow2\"\nformat = \"qcow2\"");
  check_part("-drive driver=raw,file.driver=nbd,file.host=h,if=virtio", "-drive,file.driver", Verb::refused);
  check_part("-device virtio-scsi-pci,num_queues=1 -device scsi-hd,drive=d -drive if=none,id=d,file=/a.raw,format=raw",
             "-device virtio-scsi-pci,num_queues", Verb::kept, "interface = \"virtio-scsi\"\nqueues = 1");
  check_part("-hda /a.qcow2", "-hda", Verb::kept, "interface = \"sata\"");
  CHECK(from_argv("kvm -m 1G -cdrom /a.iso -boot once=d").spec.find("order") == std::string::npos);
  check_part("-localtime", "-localtime", Verb::kept, "base = \"localtime\"");
  check_part("-cdrom /a.iso -boot order=dc", "-cdrom", Verb::kept, "order = [\"cdrom\", \"disk\"]");
}

TEST_CASE("import argv: CPUs, memory and networks") {
  check_part("-smp 8,sockets=2,cores=2,threads=2", "-smp", Verb::kept,
             "count = 8\nsockets = 2\ncores = 2\nthreads = 2");
  check_part("-smp sockets=1,cores=4", "-smp,cores", Verb::kept, "count = 4\nsockets = 1");
  check_part("-smp 2,maxcpus=8", "-smp,maxcpus", Verb::dropped);
  check_part("-cpu host,+avx2,hle=off,hv-time,hv_vendor_id=x", "-cpu,hv-time", Verb::kept, "vendor_id = \"x\"");
  check_part("-cpu EPYC,kvm=off", "-cpu,kvm", Verb::kept, "remove = [\"kvm\"]");
  check_part("-cpu EPYC,stepping=3", "-cpu,stepping", Verb::dropped);
  check_part("-netdev bridge,id=n,br=br7 -device virtio-net-pci,netdev=n,mac=52:54:00:AA:00:01",
             "-device virtio-net-pci,mac", Verb::kept, "bridge = \"br7\"\nmac = \"52:54:00:aa:00:01\"\nqueues = 1");
  check_part("-netdev tap,id=n,ifname=tap3,script=no,downscript=no -device e1000e,netdev=n", "-netdev tap,ifname",
             Verb::kept, "tap = \"tap3\"");
  check_part("-netdev tap,id=n,script=/x -device e1000,netdev=n", "-netdev tap", Verb::dropped, "model = \"e1000e\"");
  check_part(
      "-netdev user,id=n,hostfwd=tcp::2222-:22,hostfwd=udp:127.0.0.1:53-10.0.2.15:5353 -device virtio-net,netdev=n",
      "-netdev user,hostfwd", Verb::kept, "forward = [\"tcp:2222:22\", \"udp:127.0.0.1:53:5353\"]");
  check_part("-chardev socket,id=c,path=/run/s -netdev vhost-user,id=n,chardev=c -device virtio-net-pci,netdev=n",
             "-netdev vhost-user", Verb::kept, "socket = \"/run/s\"");
  check_part("-nic none", "-nic none", Verb::kept);
  CHECK(from_argv("kvm -m 1G").spec.find("[[net]]\nmodel = \"e1000e\"") != std::string::npos);
}

TEST_CASE("import argv: what QEMU does by itself is written out") {
  const Imported plain = from_argv("qemu-system-x86_64 -nodefaults -m 512");
  for (const char* line : {"accel = \"tcg\"", "hpet = true", "pit = true", "sleep = true", "model = \"qemu64\"",
                           "size = \"512M\"", "mode = \"none\"", "action = \"none\""})
    CHECK_MESSAGE(plain.spec.find(line) != std::string::npos, line, "\n", plain.spec);
}
