// The host checks over whole machines: tests/audits/<case>/ names one of tests/hosts/*.capture in "host" and may have a
// spec.toml; expected.txt is what `vmrun host check --verbose` says, compared whole. VMRUN_UPDATE_GOLDEN=1 rewrites it. "facts"
// holds what only the machine itself can answer: "mhz CPU MHZ", "disk[0].block sda", "disk[0].direct_io no",
// "disk[0].io_uring no", "disk[0].node 1", "net[0].node 1", "root no".
#include "launcher/checks/audit.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <sstream>

#include "launcher/plan/plan.hpp"
#include "launcher/spec/read_spec.hpp"
#include "tests/fakes/temp_dir.hpp"
#include "topology/capture.hpp"

namespace {

namespace fs = std::filesystem;
using launcher::Audit;
using launcher::Finding;
using launcher::Level;

const fs::path tests = VMRUN_TESTS;

std::vector<std::string> lines_of(const fs::path& file) {
  std::vector<std::string> lines;
  std::ifstream stream(file);
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
  return lines;
}

// What "facts" says; "" for what it does not.
class FactsFile {
 public:
  explicit FactsFile(const fs::path& file) {
    for (const std::string& line : lines_of(file)) {
      const auto blank = line.find(' ');
      all_[line.substr(0, blank)] = line.substr(blank + 1);
      if (line.starts_with("mhz ")) {
        std::istringstream in(line.substr(4));
        unsigned cpu = 0;
        in >> cpu >> mhz_[cpu];
      }
    }
  }
  std::string of(const std::string& key) const {
    const auto found = all_.find(key);
    return found == all_.end() ? "" : found->second;
  }
  const std::map<unsigned, double>& mhz() const { return mhz_; }

 private:
  std::map<std::string, std::string> all_;
  std::map<unsigned, double> mhz_;
};

launcher::AuditedVm vm_of(const fs::path& dir, const topology::HostTopology& host, const FactsFile& answers) {
  const auto read = launcher::read_spec((dir / "spec.toml").string(), {});
  REQUIRE(read.has_value());
  const auto qemu = launcher::features_from_json(fakes::read_file(tests / "qemu" / "10.0.json"));
  REQUIRE(qemu.has_value());
  launcher::Facts facts = launcher::assumed_facts(read->spec, host);
  facts.root = answers.of("root") != "no";
  const auto plan = launcher::make_plan(read->spec, host, {}, {}, *qemu, facts);
  auto vm = plan ? launcher::audited_vm(read->spec, facts, &*plan, {})
                 : launcher::audited_vm(read->spec, facts, nullptr, plan.error());
  const auto node = [&](const std::string& key) {
    const std::string text = answers.of(key + ".node");
    return text.empty() ? std::nullopt : std::optional(static_cast<unsigned>(std::stoul(text)));
  };
  for (auto& disk : vm.disks) {
    disk.path = fs::path(disk.path).filename();  // no path of this tree in what is compared
    disk.block = answers.of(disk.key + ".block");
    disk.facts.node = node(disk.key);
    if (answers.of(disk.key + ".direct_io") == "no") disk.facts.direct_io = false;
    if (answers.of(disk.key + ".io_uring") == "no") disk.facts.io_uring = false;
    if (!disk.facts.direct_io || !disk.facts.io_uring) disk.facts.io_uring_why = "the kernel's word";
  }
  for (auto& nic : vm.nics) nic.facts.node = node(nic.key);
  return vm;
}

std::vector<Finding> audit_case(const fs::path& dir) {
  const std::string capture = fakes::read_file(tests / "hosts" / (lines_of(dir / "host").at(0) + ".capture"));
  const auto files = topology::parse_capture(capture);
  REQUIRE_MESSAGE(files.has_value(), (files ? "" : files.error()));
  const fakes::TempDir root;
  topology::unpack_capture(*files, root.path());
  const topology::Sysfs sysfs(root.path());
  Audit audit(sysfs, launcher::topology_below(sysfs));
  const FactsFile answers(dir / "facts");
  if (fs::exists(dir / "spec.toml")) audit.vm = vm_of(dir, audit.host(), answers);
  if (!answers.mhz().empty()) {
    audit.measure = [&answers](unsigned cpu) -> std::optional<double> {
      const auto found = answers.mhz().find(cpu);
      return found == answers.mhz().end() ? std::nullopt : std::optional(found->second);
    };
  }
  return launcher::run_checks(audit);
}

// Every case's findings, once: several tests look at them.
const std::map<std::string, std::vector<Finding>>& all_cases() {
  static const auto cases = [] {
    std::map<std::string, std::vector<Finding>> found;
    for (const auto& entry : fs::directory_iterator(tests / "audits"))
      found[entry.path().filename().string()] = audit_case(entry.path());
    return found;
  }();
  return cases;
}

std::set<std::string> check_names() {
  std::set<std::string> names;
  for (const launcher::Check& check : launcher::all_checks()) names.emplace(check.name);
  return names;
}

}  // namespace

TEST_CASE("host checks: what is said of each machine") {
  const bool update = std::getenv("VMRUN_UPDATE_GOLDEN") != nullptr;
  std::set<std::string> machines;
  for (const auto& [name, findings] : all_cases()) {
    INFO("case ", name);
    const fs::path dir = tests / "audits" / name;
    machines.insert(lines_of(dir / "host").at(0));
    const std::string actual = launcher::findings_text(findings, true);
    if (update) std::ofstream(dir / "expected.txt", std::ios::binary) << actual;
    CHECK(fakes::read_file(dir / "expected.txt") == actual);
    for (const auto& entry : fs::directory_iterator(dir)) {
      const std::string file = entry.path().filename().string();
      CHECK_MESSAGE((file == "host" || file == "spec.toml" || file == "facts" || file == "expected.txt"), file);
    }
  }
  CHECK(machines.size() >= 12);
  for (const auto& entry : fs::directory_iterator(tests / "hosts")) {
    if (entry.path().extension() == ".capture") CHECK_MESSAGE(machines.contains(entry.path().stem()), entry.path());
  }
}

TEST_CASE("host checks: each is given on one machine and not on another") {
  std::map<std::string, std::set<bool>> seen;
  for (const auto& [name, findings] : all_cases()) {
    std::map<std::string, bool> given;
    for (const Finding& finding : findings) given[finding.check] = given[finding.check] || finding.level != Level::ok;
    for (const auto& [check, any] : given) seen[check].insert(any);
  }
  // These only answer: there is nothing that one could want of them.
  const std::set<std::string> answers = {"discard"};
  for (const std::string& check : check_names()) {
    CHECK_MESSAGE((answers.contains(check) || seen[check].contains(true)), check << " is given on no machine");
    CHECK_MESSAGE(seen[check].contains(false), check << " is well on no machine");
  }
}

TEST_CASE("host checks: a finding that wants something says what, why and how") {
  for (const auto& [name, findings] : all_cases()) {
    for (const Finding& finding : findings) {
      INFO(name, ": ", finding.check, ": ", finding.found);
      CHECK(check_names().contains(finding.check));
      CHECK_FALSE(finding.found.empty());
      CHECK_FALSE(finding.guide.empty());
      if (finding.level == Level::ok) {
        CHECK(finding.wanted.empty());
        continue;
      }
      CHECK_FALSE(finding.wanted.empty());
      CHECK_FALSE(finding.why.empty());
      CHECK_FALSE(finding.matters.empty());
      CHECK_FALSE(finding.now.empty());
    }
  }
}

TEST_CASE("host checks: names are there once, and JSON says what the text says") {
  CHECK(check_names().size() == launcher::all_checks().size());
  const auto& [name, findings] = *all_cases().begin();
  const std::string json = launcher::findings_json(findings);
  for (const Finding& finding : findings) CHECK(json.find('"' + finding.check + '"') != json.npos);
}

// tests/guides.tsv: every statement of the guides, and the check that answers it (or where else it is at home).
TEST_CASE("host checks: every host-side statement of the guides has its check") {
  std::set<std::string> named, guides;
  std::size_t host_side = 0, number = 0;
  for (const std::string& line : lines_of(tests / "guides.tsv")) {
    INFO("guides.tsv line ", ++number, ": ", line);
    if (line.empty() || line.starts_with('#')) continue;
    std::vector<std::string> columns;
    std::istringstream in(line);
    for (std::string column; std::getline(in, column, '\t');) columns.push_back(column);
    REQUIRE(columns.size() == 5);  // guide, place in it, statement, kind, check or home
    CHECK((columns[0].size() == 3 && columns[0].starts_with("00") && columns[0] <= "004"));
    const std::string& kind = columns[3];
    CHECK((kind == "host" || kind == "vm" || kind == "guest" || kind == "method"));
    guides.insert(columns[0]);
    if (kind != "host") continue;
    ++host_side;
    std::istringstream checks(columns[4]);
    for (std::string check; std::getline(checks, check, ',');) {
      CHECK_MESSAGE(check_names().contains(check), "no check is called " << check);
      named.insert(check);
    }
  }
  CHECK(guides.size() == 5);
  CHECK(host_side >= 80);
  // what no guide speaks of, and why it is checked all the same
  const std::set<std::string> ours = {"acs-override", "unsafe-interrupts", "surplus-pages",   "zone-reclaim",
                                      "fits",         "bare-metal",        "vulnerabilities", "mitigation-cost",
                                      "smt-siblings", "nx-huge-pages",     "listen-queue",    "isolated-siblings",
                                      "irqbalance",   "io-uring-disabled", "aio-limit",       "spinning-disk"};
  for (const std::string& check : check_names())
    CHECK_MESSAGE((named.contains(check) || ours.contains(check)), check << " is in no row of guides.tsv");
}

// tests/features.tsv: every feature of groups B to G, and where it is seen.
TEST_CASE("every feature is seen in a guest, by a test or by a host check, or says why not") {
  std::string knobs;  // the calls of `knob NAME` in the scripts of which scripts/lab knobs makes its table
  for (const auto& script : fs::directory_iterator(tests / "lab/knobs")) knobs += fakes::read_file(script.path());
  std::size_t number = 10;
  for (const std::string& line : lines_of(tests / "features.tsv")) {
    INFO("features.tsv: ", line);
    if (line.empty() || line.starts_with('#')) continue;
    std::vector<std::string> columns;
    std::istringstream in(line);
    for (std::string column; std::getline(in, column, '\t');) columns.push_back(column);
    REQUIRE((columns.size() == 3 || columns.size() == 4));  // number, feature, evidence, why it cannot be had
    CHECK(columns[0] == std::to_string(++number));
    std::size_t running = 0;  // what shows it at work
    std::istringstream all(columns[2]);
    for (std::string evidence; std::getline(all, evidence, ';');) {
      const std::string kind = evidence.substr(0, evidence.find(' ')), name = evidence.substr(kind.size() + 1);
      INFO(kind, " ", name);
      if (kind == "knob")
        CHECK((knobs.find("knob " + name) != knobs.npos || knobs.find("knob \"" + name) != knobs.npos));
      else if (kind == "lab")
        CHECK(fs::exists(tests / "lab" / (name + ".sh")));
      else if (kind == "test")
        CHECK(fs::exists(tests / "end_to_end" / (name + ".sh")));
      else if (kind == "check")
        CHECK(check_names().contains(name));
      else if (kind == "golden")
        CHECK(fs::exists(tests / "golden" / name / "expected.txt"));
      else
        FAIL("no kind of evidence: " << kind);
      running += kind != "golden" ? 1 : 0;
    }
    CHECK((running > 0 || columns.size() == 4));
  }
  CHECK(number == 110);
}

TEST_CASE("the kernel's command line") {
  const launcher::BootLine line(
      "a isolcpus=nohz,domain,managed_irq,2-7 nohz_full=0-N rcu-nocbs=all kvm-intel.ept=0 a=1");
  CHECK(line.cpus("isolcpus") == topology::CpuSet::range(2, 7));
  CHECK_FALSE(line.cpus("nohz_full"));
  CHECK_FALSE(line.cpus("rcu_nocbs"));
  CHECK(line.has("kvm_intel.ept", "0"));
  CHECK(line.has("a", "1"));
  CHECK_FALSE(line.has("b"));
  CHECK(launcher::BootLine("isolcpus=").cpus("isolcpus") == topology::CpuSet{});
}

TEST_CASE("a CPU's frequency can be measured here") {
  const auto mhz = launcher::measure_by_spinning()(0);
  if (mhz) {  // CPU 0 may be closed to this process
    CHECK(*mhz > 100);
    CHECK(*mhz < 20000);
  }
  CHECK_FALSE(launcher::measure_by_spinning()(1000000));
}
