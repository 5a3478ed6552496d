// Kinds of wrong answers that libvirt's own domains (its tests/qemuxmlconfdata, with the command line for each) brought to light: a small
// domain for each kind.
#include <doctest/doctest.h>

#include <regex>

#include "launcher/plan/plan.hpp"
#include "tests/launcher/import/domains.hpp"
#include "tests/launcher/plan/golden.hpp"

namespace {

using namespace domains;

std::string tcg(std::string xml) { return std::regex_replace(xml, std::regex("type='kvm'"), "type='qemu'"); }

std::string disk(const std::string& inner, const std::string& kind = "type='file' device='disk'") {
  return domain("", "<disk " + kind + ">" + inner + "</disk>");
}

std::string nic(const std::string& inner, const std::string& type = "bridge") {
  return domain("", "<interface type='" + type + "'>" + inner + "</interface>");
}

// The spec has none of it.
void lacks(const std::string& xml, std::string_view text) {
  const Imported result = imported(xml);
  CHECK_MESSAGE(result.spec.find(text) == std::string::npos, result.spec);
}

// The spec that it makes can be planned.
void plans(const std::string& xml) {
  const Imported result = imported(xml);
  INFO(result.spec, launcher::to_text(result.report));
  REQUIRE(launcher::exit_code_of(result.report) != 2);
  const auto host = topology::read_host_argument("synthetic:pack:1 numa:2 core:8 pu:2");
  const auto document = launcher::TomlDocument::parse(result.spec, "/x.toml");
  REQUIRE(document);
  launcher::Problems problems;
  const launcher::Spec spec = launcher::read_document(*document, problems);
  const auto plan =
      launcher::make_plan(spec, *host, {}, {}, golden::recorded_qemu("10.0"), launcher::assumed_facts(spec, *host));
  if (!plan)
    for (const launcher::Problem& problem : plan.error()) FAIL_CHECK(problem.key << ": " << problem.what);
}

const char* const file = "<source file='/vm/a.raw'/><target dev='vda' bus='virtio'/>";
const char* const br0 = "<source bridge='br0'/>";

}  // namespace

TEST_CASE("import: a disk is a file or a block device, whatever else has a path") {
  check(disk("<driver type='raw'/><source dev='/dev/vhost-vdpa-0'/><target dev='vda' bus='virtio'/>",
             "type='vhostvdpa' device='disk'"),
        "devices/disk/source/@dev", Verb::refused);
  check(disk(std::string("<readonly/><shareable/>") + file), "devices/disk/shareable", Verb::kept, "read_only = true");
  check(disk(std::string("<shareable/>") + file), "devices/disk/shareable", Verb::refused);
}

TEST_CASE("import: what QEMU does of itself with errors") {
  const auto policy = [](const std::string& name, const std::string& value) {
    return disk("<driver name='qemu' type='raw' " + name + "='" + value + "'/>" + file);
  };
  check(policy("error_policy", "enospace"), "devices/disk/driver/@error_policy", Verb::kept);
  check(policy("error_policy", "report"), "devices/disk/driver/@error_policy", Verb::changed);
  check(policy("error_policy", "stop"), "devices/disk/driver/@error_policy", Verb::dropped);
  check(policy("rerror_policy", "report"), "devices/disk/driver/@rerror_policy", Verb::kept);
  check(policy("rerror_policy", "ignore"), "devices/disk/driver/@rerror_policy", Verb::dropped);
}

TEST_CASE("import: what a disk has that it did not have") {
  check(disk(file), "devices/disk/serial", Verb::changed);
  check(disk(std::string("<serial>S1</serial>") + file), "devices/disk/serial", Verb::kept);
  const std::string mapped =
      "<driver type='raw' queues='4'><iothreads><iothread id='1'/><iothread id='2'/></iothreads></driver>";
  check(disk(mapped + file), "devices/disk/driver/iothreads/iothread[1]/@id", Verb::kept, "iothreads = 2");
  const std::string by_queue = std::regex_replace(mapped, std::regex("<iothread id='1'/>"),
                                                  "<iothread id='1'><queue id='0'/><queue id='1'/></iothread>");
  check(disk(by_queue + file), "devices/disk/driver/iothreads/iothread[1]/queue[1]/@id", Verb::changed);
  check(disk("<target dev='sda' bus='sata' tray='open'/>", "type='file' device='cdrom'"), "devices/disk/target/@tray",
        Verb::changed);
  check(
      disk("<source file='/a.iso' startupPolicy='optional'/><auth username='me'><secret type='iscsi' usage='x'/></auth>"
           "<target dev='sda' bus='sata'/>",
           "type='file' device='cdrom'"),
      "devices/disk/auth/@username", Verb::dropped);
}

TEST_CASE("import: the guest's memory is that of its nodes, and what is plugged beside it is not part of it") {
  const std::string cell = "<cpu><numa><cell id='0' cpus='0-3' memory='512' unit='MiB'/></numa></cpu>";
  check(domain(cell), "memory", Verb::changed, "[memory]\nsize = \"512M\"");
  check(std::regex_replace(domain(cell), std::regex("<memory>1048576</memory>"), ""), "cpu/numa/cell/@memory",
        Verb::kept, "[memory]\nsize = \"512M\"");
  const auto device = [](const std::string& model, const std::string& inner) {
    return domain("<maxMemory slots='2' unit='MiB'>4096</maxMemory>",
                  "<memory model='" + model + "'>" + inner + "</memory>");
  };
  const std::string size = "<size unit='MiB'>256</size>";
  check(device("dimm", "<target>" + size + "</target>"), "memory", Verb::kept, "size = \"1G\"\nmax = \"4G\"");
  check(device("nvdimm", "<source><path>/n</path></source><target>" + size + "</target>"), "memory", Verb::kept,
        "size = \"768M\"\nmax = \"4G\"");
  check(device("virtio-mem", "<target>" + size + "<requested unit='MiB'>128</requested></target>"),
        "devices/memory/target/requested", Verb::changed, "size = \"896M\"\nmax = \"4G\"");
  const auto nvdimm = [](const std::string& access, const std::string& kib = "262144") {
    return domain("", "<memory model='nvdimm'" + access + "><source><path>/n</path></source><target><size unit='KiB'>" +
                          kib + "</size></target></memory>");
  };
  // what the guest writes stays out of a private file: libvirt's default, too
  check(nvdimm(""), "devices/memory/@access", Verb::changed);
  check(nvdimm(" access='private'"), "devices/memory/@access", Verb::changed);
  check(nvdimm(" access='shared'"), "devices/memory/@access", Verb::kept);
  check(nvdimm("", "261120"), "devices/memory/target/size", Verb::kept, "size = \"256M\"");
  plans(nvdimm("", "261120"));
}

TEST_CASE("import: pages and the nodes that they are for") {
  const auto huge = [](const std::string& page, const std::string& cells = "") {
    return domain("<memoryBacking><hugepages><page " + page + "/></hugepages></memoryBacking>" + cells);
  };
  check(huge("size='2' unit='MiB'"), "memoryBacking/hugepages/page/@size", Verb::better, "page = \"2M\"");
  check(huge("size='2' unit='MiB' nodeset='1'"), "memoryBacking/hugepages/page/@nodeset", Verb::changed);
  const std::string cells =
      "<cpu><numa><cell id='0' cpus='0-1' memory='256' unit='MiB'/><cell id='1' cpus='2-3' memory='768' unit='MiB'/>"
      "</numa></cpu>";
  check(huge("size='1' unit='GiB'", cells), "cpu/numa/cell[1]/@memory", Verb::changed, "size = \"1G\"");
}

TEST_CASE("import: CPUs, as libvirt's command lines have them") {
  const auto custom = [](const std::string& feature, const std::string& model = "Haswell") {
    return domain("<cpu mode='custom' match='exact'><model>" + model + "</model>" + feature + "</cpu>");
  };
  const auto off = [](const std::string& name) { return "<feature policy='disable' name='" + name + "'/>"; };
  for (const char* name : {"pconfig", "cmt", "mbm_total", "mbm_local", "osxsave", "ospke"}) {
    check(custom(off(name)), "cpu/feature/@name", Verb::kept);
    lacks(custom(off(name)), name);
  }
  const std::string both = custom("<feature policy='require' name='vmx'/>" + off("svm"));
  check(both, "cpu/feature[2]/@name", Verb::kept, "nested = true");
  lacks(both, "nested = false");
  // the default is that of the QEMU that ran it
  const std::string i386 = "<emulator>/usr/bin/qemu-system-i386</emulator>";
  check(domain("<cpu><topology sockets='1' cores='4' threads='1'/></cpu>", i386), "cpu/@mode", Verb::kept,
        "model = \"qemu32\"");
  check(domain("", i386), "cpu", Verb::kept, "model = \"qemu32\"");
  check(std::regex_replace(domain(""), std::regex("x86_64"), "i686"), "cpu", Verb::kept, "model = \"qemu64\"");
  check(domain("<cpu mode='host-passthrough'><maxphysaddr mode='emulate' bits='42'/></cpu>"), "cpu/maxphysaddr/@bits",
        Verb::changed);
  check(domain("<cpu mode='host-passthrough'><maxphysaddr mode='passthrough'/></cpu>"), "cpu/maxphysaddr/@mode",
        Verb::better);
}

TEST_CASE("import: what an emulated CPU does not have") {
  const std::string pmu = tcg(domain("<features><acpi/><apic eoi='on'/><pmu state='on'/></features>"));
  check(pmu, "features/pmu/@state", Verb::kept);
  check(pmu, "features/apic/@eoi", Verb::kept);
  plans(pmu);
  const std::string threads = tcg(domain("<cpu><topology sockets='1' dies='1' cores='2' threads='2'/></cpu>"));
  check(threads, "cpu/topology/@threads", Verb::changed, "cores = 4\nthreads = 1");
  plans(threads);
  const std::string intel =
      tcg(domain("<cpu mode='custom' match='exact'><model>Skylake-Server</model><topology sockets='1' "
                 "dies='1' cores='2' threads='2'/></cpu>"));
  check(intel, "cpu/topology/@threads", Verb::kept, "threads = 2");
  plans(intel);
}

TEST_CASE("import: a real-time vCPU has its CPU to itself") {
  const auto tuned = [](const std::string& emulator) {
    return domain(
        "<cputune><vcpupin vcpu='0' cpuset='4'/><vcpupin vcpu='1' cpuset='5'/><vcpupin vcpu='2' cpuset='6'/><vcpupin "
        "vcpu='3' cpuset='7'/><emulatorpin cpuset='" +
        emulator + "'/><vcpusched vcpus='0-3' scheduler='fifo' priority='1'/></cputune>");
  };
  check(tuned("2-3"), "cputune/vcpusched/@priority", Verb::kept, "vcpu_fifo = 1");
  check(tuned("3-4"), "cputune/vcpusched/@priority", Verb::dropped);
  plans(tuned("3-4"));
}

TEST_CASE("import: cards") {
  const std::string socket = "<source type='unix' path='/s' mode='client'/>";
  check(nic(socket, "vhostuser"), "devices/interface/@type", Verb::kept, "mode = \"vhost-user\"");
  plans(nic(socket, "vhostuser"));
  plans(nic("<source dev='/dev/vhost-vdpa-0'/>", "vdpa"));
  const auto one = [](const std::string& driver, const std::string& model) {
    return nic(br0 + ("<model type='" + model + "'/><driver " + driver + "/>"));
  };
  check(one("name='qemu' rss='on'", "virtio"), "devices/interface/driver/@rss", Verb::dropped);
  check(one("name='qemu' queues='2' rss='on'", "virtio"), "devices/interface/driver/@rss", Verb::kept, "rss = true");
  check(one("name='qemu' rss_hash_report='on'", "virtio"), "devices/interface/driver/@rss_hash_report", Verb::kept,
        "hash = true");
  check(one("name='vhost'", "e1000"), "devices/interface/driver/@name", Verb::dropped);
  check(one("name='vhost'", "virtio"), "devices/interface/driver/@name", Verb::kept, "vhost = true");
  check(nic(br0 + std::string("<mac address='00:00:00:00:00:00'/>")), "devices/interface/mac/@address", Verb::changed);
  check(domain("",
               "<interface type='hostdev'><source><address type='usb' bus='0' device='2'/></source><model "
               "type='virtio'/><driver name='vfio' queues='2'/></interface>"),
        "devices/interface/model/@type", Verb::dropped);
  const std::string forward = "<portForward proto='tcp'><range start='8080'/></portForward>";
  const ReportRow* row = nullptr;
  const Imported result = imported(nic(br0 + forward));
  row = row_of(result, "devices/interface/portForward/range/@start");
  REQUIRE(row != nullptr);
  CHECK(!row->words.starts_with("unknown"));
}

TEST_CASE("import: serial ports, as they are written") {
  const auto serial = [](const std::string& inner, const std::string& type = "file") {
    return domain("", "<serial type='" + type + "'>" + inner + "</serial>");
  };
  check(serial("<source path='/l' append='on'/>"), "devices/serial/source/@append", Verb::kept);
  check(serial("<source path='/l' append='off'/>"), "devices/serial/source/@append", Verb::changed);
  check(serial("<source path='/l'/>"), "devices/serial/source/@append", Verb::changed);
  check(serial("<log file='/l' append='off'/>", "pty"), "devices/serial/log/@append", Verb::changed);
  check(serial("<target type='isa-debug' port='0'/><address type='isa' iobase='0x402'/>", "pty"),
        "devices/serial/address/@iobase", Verb::changed);
  check(serial("<address type='isa' iobase='0x3f8'/>", "pty"), "devices/serial/address/@iobase", Verb::kept);
  const Imported two = imported(
      serial("<source mode='bind' host='a' service='1'/><source mode='connect' host='b' service='2'/>", "udp"));
  for (const ReportRow& row : two.report) CHECK(!row.words.starts_with("unknown"));
}

TEST_CASE("import: firmware's files") {
  const auto os = [](const std::string& inner, const std::string& attributes = "") {
    return "<domain type='kvm'><name>a</name><memory>1048576</memory><vcpu>4</vcpu><os" + attributes +
           "><type arch='x86_64' machine='q35'>hvm</type>" + inner + "</os></domain>";
  };
  const std::string vars = "<nvram template='/v.fd'>/var/a.fd</nvram>";
  check(os("<loader readonly='yes' type='pflash'>/c.fd</loader>" + vars), "os/loader/@readonly", Verb::kept);
  check(os("<loader readonly='no' type='pflash'>/c.fd</loader>" + vars), "os/loader/@readonly", Verb::changed);
  check(os("<loader type='pflash' format='qcow2'>/c.qcow2</loader>" + vars), "os/loader/@format", Verb::kept);
  check(os("<loader type='pflash' format='qcow2'>/c.fd</loader>" + vars), "os/loader/@format", Verb::refused);
  const std::string remote =
      "<nvram type='network'><source protocol='iscsi' name='x'><host name='h' "
      "port='1'/></source></nvram>";
  check(os(remote, " firmware='efi'"), "os/nvram/source/@protocol", Verb::dropped);
}

TEST_CASE("import: what stands there and says nothing is known, too") {
  for (const Imported& result :
       {imported("<domain "
                 "type='kvm'><name>a</name><memory>1048576</memory><os><type>hvm</type></os><cpu/><devices/></domain>"),
        imported(domain(
            "<clock offset='timezone' timezone='Europe/Paris'><timer name='kvmclock' tickpolicy='catchup'/></clock>",
            "<panic/>")),
        imported(domain("<clock offset='absolute' start='1'/>",
                        "<disk type='file' device='disk'><backenddomain name='b'/><source "
                        "file='/a.raw' fdgroup='g'/><target dev='vda'/></disk>")),
        imported(domain("",
                        "<filesystem type='mount'><driver type='virtiofs'/><source dir='/srv'/><target "
                        "dir='data'/><boot order='2'/></filesystem>"))})
    for (const ReportRow& row : result.report) CHECK_MESSAGE(!row.words.starts_with("unknown"), row.path);
  check(domain("<metadata><a:b xmlns:a='http://a'/></metadata>"), "metadata/a:b", Verb::dropped);
  // without a panic device nothing ends the guest
  check(domain("<on_crash>destroy</on_crash>"), "on_crash", Verb::kept, "action = \"none\"");
  const Imported crash = imported(domain("<on_crash>destroy</on_crash>"));
  const ReportRow* row = row_of(crash, "on_crash");
  REQUIRE(row != nullptr);
  CHECK(row->words.find("\"exit\"") == std::string::npos);
}

TEST_CASE("import: QEMU's own arguments, whatever their prefix is") {
  for (const std::string& xml :
       {std::string(
            "<domain type='kvm' xmlns:q='http://libvirt.org/schemas/domain/qemu/1.0'><name>a</name><memory>1048576</"
            "memory><os><type>hvm</type></os><q:commandline><q:arg value='-s'/></q:commandline></domain>"),
        std::string("<domain type='kvm'><name>a</name><memory>1048576</memory><os><type>hvm</type></os><commandline "
                    "xmlns='http://libvirt.org/schemas/domain/qemu/1.0'><arg value='-s'/></commandline></domain>")}) {
    check(xml, "qemu:commandline/qemu:arg/@value", Verb::kept, "extra_args = [\"-s\"]");
  }
}

TEST_CASE("import: names that the guest knows its devices by") {
  const auto placed = [](const std::string& bus, const std::string& slot, const std::string& machine = "pc-q35-7.2") {
    return std::regex_replace(nic(std::string(br0) + "<model type='virtio'/><address type='pci' domain='0x0000' bus='" +
                                  bus + "' slot='" + slot + "' function='0x0'/>"),
                              std::regex("pc-q35-7.2"), machine);
  };
  check(placed("0x01", "0x00"), "devices/interface/address/@bus", Verb::kept, "guest_bus = 1");
  plans(placed("0x08", "0x00"));
  check(placed("0x09", "0x00"), "devices/interface/address/@bus", Verb::changed);
  check(placed("0x01", "0x01"), "devices/interface/address/@bus", Verb::changed);
  const Imported old = imported(placed("0x00", "0x03", "pc-i440fx-7.2"));
  CHECK(row_of(old, "devices/interface/address/@bus")->words.find("ens3 becomes enp0s16") != std::string::npos);
  const auto wwn = [](const std::string& bus) {
    return disk("<source file='/a.raw'/><target dev='sda' bus='" + bus + "'/><wwn>5000C50015ea71ac</wwn>");
  };
  check(wwn("scsi"), "devices/disk/wwn", Verb::kept, "wwn = \"5000c50015ea71ac\"");
  check(wwn("sata"), "devices/disk/wwn", Verb::kept, "wwn = \"5000c50015ea71ac\"");
  check(wwn("virtio"), "devices/disk/wwn", Verb::dropped);
  plans(wwn("scsi"));
}

TEST_CASE("import: mediated devices") {
  const auto mdev = [](const std::string& attributes) {
    return domain("", "<hostdev mode='subsystem' type='mdev' " + attributes +
                          "><source><address uuid='53764D0e-85a0-42b4-af5c-2046b460b1dc'/></source></hostdev>");
  };
  check(mdev("model='vfio-pci'"), "devices/hostdev/source/address/@uuid", Verb::kept,
        "[[pci]]\nmdev = \"53764d0e-85a0-42b4-af5c-2046b460b1dc\"");
  check(mdev("model='vfio-pci' display='on' ramfb='on'"), "devices/hostdev/@ramfb", Verb::dropped, "mdev");
  check(mdev("model='vfio-pci' display='off'"), "devices/hostdev/@display", Verb::kept);
  check(mdev("model='vfio-ccw'"), "devices/hostdev/source/address/@uuid", Verb::dropped);
  plans(mdev("model='vfio-pci'"));
}

TEST_CASE("import: each node's memory bound in its own way") {
  const std::string cells =
      "<cpu><numa><cell id='0' cpus='0-1' memory='512' unit='MiB'/><cell id='1' cpus='2-3' memory='512' unit='MiB'/>"
      "</numa></cpu>";
  const auto tune = [](const std::string& memory, const std::string& mode) {
    return "<numatune>" + memory + "<memnode cellid='1' mode='" + mode + "' nodeset='1'/></numatune>";
  };
  const std::string strict = "<memory mode='strict' nodeset='0'/>";
  check(domain(tune(strict, "preferred") + cells), "numatune/memnode/@mode", Verb::kept,
        "nodes = \"1\"\npolicy = \"preferred\"");
  check(domain(tune("", "interleave") + cells), "numatune/memnode/@mode", Verb::kept, "policy = \"interleave\"");
  check(domain(tune("<memory mode='preferred' nodeset='0'/>", "strict") + cells), "numatune/memory/@mode", Verb::kept,
        "policy = \"strict\"");
  check(domain(tune(strict, "restrictive") + cells), "numatune/memnode/@mode", Verb::dropped);
  lacks(domain(tune(strict, "strict") + cells), "policy");
  plans(domain(tune(strict, "preferred") + cells));
}

TEST_CASE("import: port groups") {
  const auto asked = [](const std::string& network) {
    return ImportOptions{.network = [network](const std::string&) { return network; }};
  };
  const std::string card = nic("<source network='lan' portgroup='db'/><model type='virtio'/>", "network");
  const std::string groups =
      "<network><bridge name='br7'/><portgroup name='web' default='yes'><vlan><tag id='10'/></vlan></portgroup>"
      "<portgroup name='db'><vlan><tag id='20'/></vlan><bandwidth><inbound "
      "average='128'/></bandwidth></portgroup></network>";
  check(card, "devices/interface/source/@portgroup", Verb::kept, "vlan = 20", asked(groups));
  check(card, "devices/interface/source/@portgroup", Verb::kept, "receive_limit = \"1024kbit\"", asked(groups));
  check(nic("<source network='lan'/>", "network"), "devices/interface/source/@network", Verb::changed, "vlan = 10",
        asked(groups));
  check(card, "devices/interface/source/@portgroup", Verb::dropped, "bridge = \"br7\"",
        asked("<network><bridge name='br7'/></network>"));
  check(card, "devices/interface/source/@portgroup", Verb::dropped, "",
        asked("<network><bridge name='br7'/><portgroup name='db'><vlan trunk='yes'><tag id='1'/><tag id='2'/></vlan>"
              "</portgroup></network>"));
  check(card, "devices/interface/source/@portgroup", Verb::dropped);
  check(nic("<source network='lan'/>", "network"), "devices/interface/source/@network", Verb::changed,
        "over = \"eth1\"", asked("<network><forward mode='bridge'><interface dev='eth1'/></forward></network>"));
}

TEST_CASE("import: a bound of the address space is no plan to grow") {
  const auto max = [](const std::string& gib) {
    return domain("<maxMemory slots='16' unit='GiB'>" + gib + "</maxMemory>");
  };
  check(max("8"), "maxMemory", Verb::changed, "max = \"8G\"");
  check(max("1024"), "maxMemory", Verb::dropped);
  lacks(max("1024"), "max =");
}
