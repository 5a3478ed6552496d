// What becomes of domains: files of domains/, each with what the import says of it beside it, compared whole; and what holds for all.
#include <doctest/doctest.h>
#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <regex>

#include "launcher/plan/plan.hpp"
#include "tests/launcher/import/domains.hpp"
#include "tests/launcher/plan/golden.hpp"

namespace {

namespace fs = std::filesystem;
using namespace domains;

const fs::path all_domains = fs::path(VMRUN_TESTS) / "launcher/import/domains";

std::vector<fs::path> domain_files() {
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(all_domains))
    if (entry.path().extension() == ".xml") files.push_back(entry.path());
  std::ranges::sort(files);
  REQUIRE(files.size() > 15);
  return files;
}

}  // namespace

TEST_CASE("import: what is said of each domain") {
  const bool update = std::getenv("VMRUN_UPDATE_GOLDEN") != nullptr;
  for (const fs::path& file : domain_files()) {
    INFO(file.filename().string());
    ImportOptions options;
    options.replace_pins = file.stem().string().ends_with("-replace-pins");
    const Imported result = imported(fakes::read_file(file), options);
    const std::string actual = result.spec + "---\n" + launcher::to_text(result.report);
    fs::path expected = file;
    expected.replace_extension(".expected");
    if (update) std::ofstream(expected, std::ios::binary) << actual;
    CHECK(fakes::read_file(expected) == actual);
  }
}

TEST_CASE("import: every spec can be planned, or its problem is one of this host") {
  const auto host = topology::read_host_argument("synthetic:pack:1 numa:2 core:8 pu:2");
  REQUIRE(host);
  for (const fs::path& file : domain_files()) {
    const Imported result = imported(fakes::read_file(file));
    if (launcher::exit_code_of(result.report) == 2) continue;
    INFO(file.filename().string(), "\n", result.spec);
    const auto document = launcher::TomlDocument::parse(result.spec, "/x.toml");
    REQUIRE(document);
    launcher::Problems problems;
    const launcher::Spec spec = launcher::read_document(*document, problems);
    for (const launcher::Problem& problem : problems) FAIL(problem.key << ": " << problem.what);
    const auto plan =
        launcher::make_plan(spec, *host, {}, {}, golden::recorded_qemu("10.0"), launcher::assumed_facts(spec, *host));
    if (plan) continue;
    for (const launcher::Problem& problem : plan.error())
      FAIL_CHECK(problem.key << ": " << problem.what << "; " << problem.help);
  }
}

TEST_CASE("import: a row for every attribute that a plain look at the text finds") {
  const std::regex tag("<[A-Za-z][^<>]*>"), attribute("\\s([\\w:]+)=('[^']*'|\"[^\"]*\")");
  for (const fs::path& file : domain_files()) {
    INFO(file.filename().string());
    const std::string xml = fakes::read_file(file);
    std::ptrdiff_t there = 0;
    for (std::sregex_iterator at(xml.begin(), xml.end(), tag), end; at != end; ++at) {
      const std::string text = at->str();
      for (std::sregex_iterator one(text.begin(), text.end(), attribute); one != end; ++one)
        there += (*one)[1].str().starts_with("xmlns") ? 0 : 1;
    }
    CHECK(there > 5);
    CHECK(std::ranges::count_if(imported(xml).report, [](const ReportRow& row) {
            return row.line > 0 && row.path.find('@') != std::string::npos;
          }) == there);
  }
}

TEST_CASE("import: what the importer does not know is told") {
  const Imported result =
      imported(domain("<news kind='x'><deep>1</deep></news>",
                      "<disk type='file' novel='1'><source file='/a.raw'/><target dev='vda' bus='virtio'/></disk>"));
  for (const char* path : {"news/@kind", "news/deep", "devices/disk/@novel"}) {
    const ReportRow* row = row_of(result, path);
    REQUIRE_MESSAGE(row != nullptr, path);
    CHECK(row->verb == Verb::dropped);
    CHECK(row->words.starts_with("unknown"));
  }
  CHECK(launcher::exit_code_of(result.report) == 3);
}

TEST_CASE("import: XML is not believed") {
  const auto wrong = [](const std::string& xml) {
    const auto result = launcher::import_domain(xml, {});
    REQUIRE(!result);
    return result.error();
  };
  CHECK(wrong("").find("element") != std::string::npos);
  CHECK(wrong("<domain").starts_with("line 1:"));
  CHECK(wrong("<network/>").find("<network>") != std::string::npos);
  CHECK(wrong("<!DOCTYPE d [<!ENTITY a SYSTEM 'file:///etc/passwd'>]><domain><name>&a;</name></domain>")
            .find("document type") != std::string::npos);
  CHECK(wrong(std::string(launcher::most_xml + 1, ' ')).find("at most") != std::string::npos);
  std::string deep;
  for (int i = 0; i < 100'000; ++i) deep += "<a>";
  CHECK(wrong("<domain>" + deep).find("line 1") != std::string::npos);
  std::string closed = "<domain>";
  for (int i = 0; i < 60; ++i) closed += "<a>";
  for (int i = 0; i < 60; ++i) closed += "</a>";
  CHECK(wrong(closed + "</domain>").find("deep") != std::string::npos);
  CHECK(wrong("<domain>\xff</domain>").find("UTF-8") != std::string::npos);
  CHECK(wrong(std::string("<domain>\0</domain>", 18)).find("NUL") != std::string::npos);
  // an entity of nobody's stays the text it is
  const Imported odd = imported(domain("<title>&unknown; &#65;</title>"));
  CHECK(odd.spec.find("&unknown; A") != std::string::npos);
}

TEST_CASE("import: hostile texts stay values") {
  const Imported result =
      imported(domain("<title>a\n[cpu]\nmodel = \"x\"</title><description>\x1b[31mred</description>",
                      "<disk type='file'><driver type='raw'/><source file='/a\"&#10;[x]&#10;.raw'/><target dev='vda' "
                      "bus='virtio'/></disk>"));
  CHECK(result.spec.find("\n[cpu]\nmodel = \"x\"") == std::string::npos);
  CHECK(result.spec.find('\x1b') == std::string::npos);
  CHECK(result.spec.find("\\U0000000A[x]") != std::string::npos);
}

TEST_CASE("import: units as libvirt has them") {
  const auto memory = [](const std::string& xml, const std::string& line) {
    const Imported result = imported("<domain type='kvm'><name>a</name>" + xml + "<os><type>hvm</type></os></domain>");
    CHECK_MESSAGE(result.spec.find("size = " + line) != std::string::npos, result.spec);
  };
  memory("<memory>2097152</memory>", "\"2G\"");
  memory("<memory unit='KiB'>2097152</memory>", "\"2G\"");
  memory("<memory unit='k'>2097152</memory>", "\"2G\"");
  memory("<memory unit='GiB'>3</memory>", "\"3G\"");
  memory("<memory unit='G'>3</memory>", "\"3G\"");
  memory("<memory unit='b'>1073741824</memory>", "\"1G\"");
  memory("<memory unit='bytes'>1073741824</memory>", "\"1G\"");
  memory("<memory unit='MB'>1000</memory>", "\"954M\"");  // 953.67 MiB, rounded up as libvirt does
  memory("<memory unit='KiB'>1048577</memory>", "\"1025M\"");
  check("<domain type='kvm'><name>a</name><memory unit='parsec'>1</memory></domain>", "memory", Verb::refused);
}

TEST_CASE("import: CPUs") {
  check(domain("<cpu mode='host-passthrough' check='none'/>"), "cpu/@mode", Verb::kept, "model = \"host\"");
  check(domain("<cpu mode='host-passthrough' check='none'/>"), "cpu/@check", Verb::better, "invtsc = false");
  check(domain("<cpu mode='host-model'/>"), "cpu/@mode", Verb::changed, "model = \"host\"");
  check(domain("<cpu mode='maximum'/>"), "cpu/@mode", Verb::kept, "model = \"max\"");
  const std::string custom = "<cpu mode='custom' match='minimum'><model fallback='forbid'>Skylake-Server</model>";
  check(domain(custom + "</cpu>"), "cpu/model", Verb::kept, "model = \"Skylake-Server\"");
  check(domain(custom + "</cpu>"), "cpu/model/@fallback", Verb::kept);
  check(domain(custom + "</cpu>"), "cpu/@match", Verb::changed);
  const auto feature = [&](const std::string& policy, const std::string& name) {
    return domain(custom + "<feature policy='" + policy + "' name='" + name + "'/></cpu>");
  };
  check(feature("require", "avx2"), "cpu/feature/@name", Verb::kept, "require = [\"avx2\"]");
  check(feature("force", "avx2"), "cpu/feature/@name", Verb::kept, "add = [\"avx2\"]");
  check(feature("disable", "hle"), "cpu/feature/@name", Verb::kept, "remove = [\"hle\"]");
  check(feature("forbid", "hle"), "cpu/feature/@name", Verb::changed, "remove = [\"hle\"]");
  check(feature("optional", "avx2"), "cpu/feature/@name", Verb::dropped);
  check(feature("require", "vmx"), "cpu/feature/@name", Verb::kept, "nested = true");
  check(feature("require", "invtsc"), "cpu/feature/@name", Verb::kept, "invtsc = true");
  check(domain("<cpu mode='host-passthrough'><topology sockets='1' dies='1' cores='2' threads='2'/></cpu>"),
        "cpu/topology/@cores", Verb::kept, "cores = 2\nthreads = 2");
  check(domain("<cpu mode='host-passthrough'><topology sockets='2' dies='1' cores='4' threads='2'/></cpu>"),
        "cpu/topology/@cores", Verb::dropped);
  check(domain("<cpu mode='host-passthrough'><cache mode='passthrough'/></cpu>"), "cpu/cache/@mode", Verb::kept,
        "host_caches = true");
  check(domain(""), "cpu", Verb::kept, "model = \"qemu64\"");
}

TEST_CASE("import: pins and nodes") {
  const std::string one =
      "<cputune><vcpupin vcpu='0' cpuset='4'/><vcpupin vcpu='1' cpuset='6'/><vcpupin vcpu='2' cpuset='5'/><vcpupin "
      "vcpu='3' cpuset='7'/>"
      "<emulatorpin cpuset='0-3,^2'/></cputune>";
  check(domain(one), "cputune/vcpupin[2]/@cpuset", Verb::kept, "pin = [4, 6, 5, 7]");
  check(domain(one), "cputune/emulatorpin/@cpuset", Verb::kept, "emulator = \"0-1,3\"");
  check(domain(one), "cputune/vcpupin[2]/@cpuset", Verb::better, "count = 4\n", {.replace_pins = true});
  check(domain("<cputune><vcpupin vcpu='0' cpuset='4-7'/></cputune>"), "cputune/vcpupin/@cpuset", Verb::dropped,
        "pin = \"off\"");
  check(
      "<domain type='kvm'><name>a</name><memory>1048576</memory><vcpu "
      "cpuset='1-4,^3'>2</vcpu><os><type>hvm</type></os></domain>",
      "vcpu/@cpuset", Verb::dropped, "pin = \"off\"");
  check(
      "<domain type='kvm'><name>a</name><memory>1048576</memory><vcpu "
      "current='2'>4</vcpu><os><type>hvm</type></os></domain>",
      "vcpu", Verb::dropped, "count = 2");
  check(domain("<numatune><memory mode='preferred' nodeset='1'/></numatune>"), "numatune/memory/@mode", Verb::kept,
        "nodes = \"1\"\npolicy = \"preferred\"");
  check(domain("<numatune><memory mode='strict' nodeset='0-3,^1'/></numatune>"), "numatune/memory/@nodeset", Verb::kept,
        "nodes = \"0,2-3\"");
  check(domain("<numatune><memnode cellid='0' mode='strict' nodeset='0'/><memnode cellid='1' mode='strict' "
               "nodeset='1'/></numatune>"),
        "numatune/memnode[1]/@nodeset", Verb::kept, "nodes = \"0-1\"");
  check(domain("<cputune><shares>512</shares></cputune>"), "cputune/shares", Verb::kept, "weight = 512");
  check(domain("<cputune><period>100000</period><quota>50000</quota></cputune>"), "cputune/quota", Verb::changed,
        "quota = 200");
  check(domain("<cputune><global_period>100000</global_period><global_quota>150000</global_quota></cputune>"),
        "cputune/global_quota", Verb::kept, "quota = 150");
  check(domain("<cputune><cachetune vcpus='0-3'><cache id='0' level='3' type='both' size='3' "
               "unit='MiB'/></cachetune></cputune>"),
        "cputune/cachetune/cache/@size", Verb::dropped);
}

TEST_CASE("import: the guest's nodes") {
  const std::string cells =
      "<cpu><numa><cell id='1' cpus='2' memory='256' unit='MiB' memAccess='shared'><distances><sibling id='0' "
      "value='31'/></distances></cell><cell id='0' cpus='0-1' memory='786000' unit='KiB' discard='yes'/></numa></cpu>";
  const std::string first = "[[numa]]\nvcpus = \"0-1,3\"\nsize = \"768M\"\n";  // vCPU 3 is of no cell
  check(domain(cells), "cpu/numa/cell[1]/@cpus", Verb::kept, first + "distances = [10, 31]\n");
  check(domain(cells), "cpu/numa/cell[1]/@memory", Verb::kept,
        "vcpus = \"2\"\nsize = \"256M\"\ndistances = [31, 10]\n");
  check(domain(cells), "cpu/numa/cell[1]/distances/sibling/@value", Verb::kept, "size = \"1G\"\nshared = true\n");
  check(domain(cells), "cpu/numa/cell[2]/@discard", Verb::kept);
  const std::string tune =
      "<numatune><memory mode='strict' nodeset='0'/><memnode cellid='1' mode='strict' nodeset='1'/></numatune>";
  check(domain(cells + tune), "numatune/memnode/@nodeset", Verb::kept,
        "vcpus = \"2\"\nsize = \"256M\"\nnodes = \"1\"\n");
  check(domain(cells + tune), "numatune/memory/@nodeset", Verb::kept, "size = \"768M\"\nnodes = \"0\"\n");
  check(domain("<numatune><memory mode='strict' nodeset='0-1'/></numatune>" + cells), "numatune/memory/@nodeset",
        Verb::kept, "nodes = \"0-1\"");
  const std::string bare =
      "<cpu><numa><cell id='0' cpus='0-3' memory='512' unit='MiB'/><cell id='1' memory='512' unit='MiB'><cache "
      "level='1' "
      "associativity='direct' policy='writeback'><size value='10' unit='KiB'/><line value='8' unit='B'/></cache></cell>"
      "</numa></cpu>";
  check(domain(bare), "cpu/numa/cell[2]/@memory", Verb::kept, "[[numa]]\nvcpus = \"none\"\nsize = \"512M\"\n");
  check(domain(bare), "cpu/numa/cell/distances", Verb::changed);
  check(domain(bare), "cpu/numa/cell[2]/cache/@level", Verb::dropped);
  const std::string dimm = "<memory model='dimm'><target><size unit='MiB'>256</size><node>1</node></target></memory>";
  check(domain(bare, dimm), "cpu/numa/cell[2]/@memory", Verb::kept, "vcpus = \"none\"\nsize = \"768M\"\n");
  check(domain("<maxMemory slots='2' unit='MiB'>2047</maxMemory>" + bare), "maxMemory", Verb::changed, "max = \"2G\"");
  CHECK(imported(domain("<cpu><numa><cell id='0' cpus='0-3' memory='1' unit='GiB'/></numa></cpu>")).spec.find("numa") ==
        std::string::npos);
}

TEST_CASE("import: disks") {
  const auto disk = [](const std::string& driver, const std::string& more = "",
                       const std::string& target = "<target dev='vda' bus='virtio'/>") {
    return domain("", "<disk type='file' device='disk'><driver name='qemu' type='qcow2' " + driver +
                          "/><source file='/vm/a.qcow2'/>" + target + more + "</disk>");
  };
  check(disk(""), "devices/disk/driver/@cache", Verb::kept, "cache = \"writeback\"");
  check(disk("cache='none' io='native'"), "devices/disk/driver/@io", Verb::kept, "cache = \"none\"\naio = \"native\"");
  check(disk("discard='unmap'"), "devices/disk/driver/@discard", Verb::kept, "discard = true");
  check(disk("queues='2'"), "devices/disk/driver/@queues", Verb::kept, "queues = 2");
  check(disk("queues='9'"), "devices/disk/driver/@queues", Verb::changed);
  check(disk("iothread='2'"), "devices/disk/driver/@iothread", Verb::kept, "iothread_pool = \"io2\"");
  check(disk("", "<serial>S1</serial>"), "devices/disk/serial", Verb::kept, "serial = \"S1\"");
  check(disk("",
             "<iotune><total_bytes_sec>1048576</total_bytes_sec><total_bytes_sec_max>2097152</"
             "total_bytes_sec_max><total_bytes_sec_max_length>60</total_bytes_sec_max_length><read_iops_sec>500</"
             "read_iops_sec></iotune>"),
        "devices/disk/iotune/total_bytes_sec", Verb::kept,
        "bytes = \"1M\"\nbytes_burst = \"2M\"\niops_read = 500\nburst_seconds = 60");
  check(disk("", "<shareable/>"), "devices/disk/shareable", Verb::refused);
  check(disk("", "", "<target dev='sda' bus='sata'/>"), "devices/disk/target/@bus", Verb::kept, "interface = \"sata\"");
  check(disk("", "", "<target dev='sda' bus='scsi'/>"), "devices/disk/target/@bus", Verb::kept,
        "interface = \"virtio-scsi\"");
  check(domain("",
               "<disk type='network' device='disk'><source protocol='rbd' name='p/i'><host name='m'/></source><target "
               "dev='vda'/></disk>"),
        "devices/disk/source/@protocol", Verb::refused);
  check(domain("", "<disk type='file'><driver type='vmdk'/><source file='/a.vmdk'/><target dev='vda'/></disk>"),
        "devices/disk/driver/@type", Verb::refused);
  check(domain("", "<disk type='file' device='cdrom'><target dev='sda' bus='sata'/><readonly/></disk>"),
        "devices/disk/@device", Verb::kept, "[[cdrom]]");
  const std::string iso =
      "<disk type='file' device='cdrom'><driver name='qemu' type='raw'/><source file='/a.iso'/><target "
      "dev='sdb' bus='sata'/><readonly/><boot order='1'/></disk>";
  check(domain("", iso), "devices/disk/source/@file", Verb::kept, "[[cdrom]]\npath = \"/a.iso\"");
  check(domain("", iso), "devices/disk/boot/@order", Verb::kept, "order = [\"cdrom\"]");
  const std::string scsi = domain(
      "<iothreads>1</iothreads>",
      "<controller type='scsi' index='1' model='virtio-scsi'><driver iothread='1' queues='2' packed='on'/></controller>"
      "<disk type='file'><driver type='raw'/><source file='/a.raw'/><target dev='sda' bus='scsi'/><address "
      "type='drive' "
      "controller='1' bus='0' target='0' unit='0'/></disk>");
  check(scsi, "devices/controller/driver/@iothread", Verb::kept, "iothread_pool = \"io1\"\nqueues = 2\npacked = true");
  check(scsi, "devices/controller/driver/@queues", Verb::kept);
  check(disk("", "", "<target dev='sda' bus='ide'/>"), "devices/disk/target/@bus", Verb::changed,
        "interface = \"sata\"");
  std::string seven;
  for (int i = 0; i < 7; ++i)
    seven += "<disk type='file'><driver type='raw'/><source file='/" + std::to_string(i) + ".raw'/><target dev='sd" +
             std::string(1, static_cast<char>('a' + i)) + "' bus='sata'/></disk>";
  check(domain("", seven), "devices/disk[6]/target/@bus", Verb::kept, "interface = \"sata\"");
  check(domain("", seven), "devices/disk[7]/target/@bus", Verb::changed, "interface = \"nvme\"");
  check(domain("<iothreads>1</iothreads><iothreadids><iothread id='1' thread_pool_max='8'><poll "
               "max='100'/></iothread></iothreadids>",
               "<disk type='file'><driver type='raw' iothread='1'/><source file='/a.raw'/><target dev='vda' "
               "bus='virtio'/></disk>"),
        "iothreadids/iothread/@thread_pool_max", Verb::kept,
        "iothread_pool = \"io1\"\nthread_pool_max = 8\npoll_max_ns = 100");
  check(domain("",
               "<disk type='block' device='disk'><driver type='raw'/><source dev='/dev/vg/a'/><target dev='vda' "
               "bus='virtio'/></disk>"),
        "devices/disk/source/@dev", Verb::kept, "logical_block_size = 512");
  const Imported ordered = imported(domain("",
                                           "<disk type='file'><driver type='raw'/><source file='/data.raw'/><target "
                                           "dev='vda' bus='virtio'/><boot order='2'/></disk>"
                                           "<disk type='file'><driver type='raw'/><source file='/os.raw'/><target "
                                           "dev='vdb' bus='virtio'/><boot order='1'/></disk>"));
  CHECK(ordered.spec.find("/os.raw") < ordered.spec.find("/data.raw"));
  // what is told names the places that they have now
  for (const auto& [path, words] : {std::pair("devices/disk[1]/source/@file", "disk[1].path"),
                                    std::pair("devices/disk[2]/source/@file", "disk[0].path")}) {
    const ReportRow* row = row_of(ordered, path);
    REQUIRE(row != nullptr);
    CHECK(row->words == words);
  }
}

TEST_CASE("import: networks and the rest") {
  const auto nic = [](const std::string& inner, const std::string& type) {
    return domain("", "<interface type='" + type + "'><mac address='52:54:00:AA:bb:cc'/>" + inner +
                          "<model type='virtio'/></interface>");
  };
  check(nic("<source bridge='br0'/>", "bridge"), "devices/interface/mac/@address", Verb::kept,
        "bridge = \"br0\"\nmac = \"52:54:00:aa:bb:cc\"");
  check(nic("<source network='default'/>", "network"), "devices/interface/source/@network", Verb::changed,
        "bridge = \"virbr0\"");
  check(nic("<source network='other'/>", "network"), "devices/interface/source/@network", Verb::dropped);
  check(nic("<source network='other'/>", "network"), "devices/interface/source/@network", Verb::changed,
        "bridge = \"br7\"", {.network = [](const std::string&) { return "<network><bridge name='br7'/></network>"; }});
  check(nic("<source dev='eth0' mode='bridge'/>", "direct"), "devices/interface/source/@dev", Verb::kept,
        "over = \"eth0\"\nmacvtap = \"bridge\"");
  check(nic("<source dev='eth0'/>", "direct"), "devices/interface/source/@mode", Verb::kept, "macvtap = \"vepa\"");
  // tc's kbps is 1000 bytes: 128 kbytes a second are 1024 kbit
  check(nic("<source bridge='br0'/><bandwidth><inbound average='128' burst='1'/></bandwidth>", "bridge"),
        "devices/interface/bandwidth/inbound/@average", Verb::kept, "receive_limit = \"1024kbit\"");
  check(nic("<source bridge='br0'/><vlan><tag id='4'/></vlan>", "bridge"), "devices/interface/vlan/tag/@id", Verb::kept,
        "vlan = 4");
  check(nic("<source bridge='br0'/><vlan trunk='yes'><tag id='4'/><tag id='5'/></vlan>", "bridge"),
        "devices/interface/vlan/tag[1]/@id", Verb::dropped);
  check(nic("<source dev='eth0' mode='bridge'/><vlan><tag id='4'/></vlan>", "direct"), "devices/interface/vlan/tag/@id",
        Verb::dropped);
  check(nic("<source bridge='br0'/><tune><sndbuf>1048576</sndbuf></tune>", "bridge"), "devices/interface/tune/sndbuf",
        Verb::kept, "sndbuf = \"1M\"");
  check(nic("<source bridge='br0'/><boot order='1'/>", "bridge"), "devices/interface/boot/@order", Verb::kept,
        "order = [\"net\"]");
  const auto model = [](const std::string& name) {
    return domain("", "<interface type='bridge'><source bridge='br0'/><model type='" + name + "'/></interface>");
  };
  check(model("e1000e"), "devices/interface/model/@type", Verb::kept, "model = \"e1000e\"");
  check(model("rtl8139"), "devices/interface/model/@type", Verb::changed, "model = \"e1000e\"");
  check(domain("<os><type>hvm</type><boot dev='network'/><boot dev='hd'/></os>"), "os[2]/boot[1]/@dev", Verb::kept);
  check(nic("<source bridge='br0'/><address type='pci' domain='0' bus='0x01' slot='0x00' function='0'/>", "bridge"),
        "devices/interface/address/@bus", Verb::kept, "guest_bus = 1");
  check(domain("",
               "<hostdev mode='subsystem' type='pci' managed='yes'><source><address domain='0x0000' bus='0x81' "
               "slot='0x00' function='0x1'/></source></hostdev>"),
        "devices/hostdev/source/address/@bus", Verb::kept, "address = \"0000:81:00.1\"");
  check(domain("",
               "<hostdev mode='subsystem' type='usb'><source><vendor id='0x046d'/><product "
               "id='0xc52b'/></source></hostdev>"),
        "devices/hostdev/source/vendor/@id", Verb::kept, "id = \"046d:c52b\"");
  check(domain(
            "",
            "<rng model='virtio'><backend model='random'>/dev/hwrng</backend><rate bytes='1024' period='2000'/></rng>"),
        "devices/rng/rate/@bytes", Verb::kept, "source = \"/dev/hwrng\"\nrate = \"512\"");
  check(domain("", "<vsock model='virtio'><cid auto='no' address='7'/></vsock>"), "devices/vsock/cid/@address",
        Verb::kept, "cid = 7");
  check(
      domain("",
             "<filesystem type='mount'><driver type='virtiofs'/><source dir='/srv'/><target dir='data'/></filesystem>"),
      "devices/filesystem/source/@dir", Verb::kept, "path = \"/srv\"\ntag = \"data\"");
  check(domain("", "<audio id='1' type='none'/>"), "devices/audio/@type", Verb::kept);
  check(domain("", "<audio id='1' type='alsa'/>"), "devices/audio/@type", Verb::dropped);
  check(domain("<launchSecurity type='sev'><policy>1</policy></launchSecurity>"), "launchSecurity/@type",
        Verb::refused);
  check(domain("<pm><suspend-to-mem enabled='no'/><suspend-to-disk enabled='no'/></pm>"), "pm/suspend-to-mem/@enabled",
        Verb::kept, "sleep = false");
  check(domain(""), "pm", Verb::kept, "sleep = true");
  check(domain("<clock offset='localtime'><timer name='hpet' present='no'/><timer name='rtc' "
               "tickpolicy='catchup'/></clock>"),
        "clock/timer[1]/@name", Verb::kept, "base = \"localtime\"\nhpet = false\ndrift_fix = \"slew\"");
}

TEST_CASE("import: QEMU's own arguments, vmrun's sorted out") {
  const std::string xml =
      "<domain type='kvm' "
      "xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'><name>a</name><memory>1048576</memory><os><type>hvm</"
      "type></os>"
      "<qemu:commandline><qemu:arg value='-device'/><qemu:arg value='edu'/><qemu:arg value='-cpu'/><qemu:arg "
      "value='host'/>"
      "<qemu:arg value='-s'/><qemu:arg value='-global'/><qemu:arg value='q35-pcihost.x=1'/><qemu:env name='A' "
      "value='b'/></qemu:commandline></domain>";
  check(xml, "qemu:commandline/qemu:arg[2]/@value", Verb::kept,
        "extra_args = [\"-device\", \"edu\", \"-s\", \"-global\", \"q35-pcihost.x=1\"]");
  check(xml, "qemu:commandline/qemu:arg[3]/@value", Verb::dropped);
  check(xml, "qemu:commandline/qemu:arg[4]/@value", Verb::dropped);
  check(xml, "qemu:commandline/qemu:env/@name", Verb::dropped);
}
