// golden/<case>/: a spec and what vmrun says about it, compared whole. VMRUN_UPDATE_GOLDEN=1 rewrites expected.txt; a
// file that is missing or that nothing uses fails. A case's files: spec.toml, expected.txt, what spec.toml includes,
// "set" with one --set a line. bad-*: the spec alone is to blame. plan-*: also "host" (one of tests/hosts, a file of
// the case's own, or "synthetic:..."), and if need be "qemu" (one of tests/qemu, else 10.0) and "options" ("--explain").
#include "tests/launcher/plan/golden.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <set>
#include <string>

#include "launcher/text/render_problem.hpp"

namespace {

namespace fs = std::filesystem;
using fakes::read_file;
using golden::line_of;
using golden::lines_of;
using golden::WorkingDirectory;

const fs::path all_cases = fs::path(VMRUN_TESTS) / "golden";

// What `vmrun plan spec.toml --host HOST` prints in this directory.
std::string plan_case(const launcher::SpecFile& file) {
  const topology::HostTopology host = golden::host_of(".");
  const auto plan = golden::plan_of(file, host, golden::recorded_qemu(line_of("qemu", "10.0")));
  if (!plan) return launcher::render(plan.error(), &file.document, false);
  return launcher::to_text(*plan, host, line_of("options", "") == "--explain");
}

// What `vmrun plan spec.toml` prints in this directory.
std::string run_case(const fs::path& dir) {
  const WorkingDirectory here(dir);
  const auto read = launcher::read_spec("spec.toml", lines_of("set"));
  if (!read) return launcher::render(read.error().problems, &*read.error().document, false);
  return fs::exists("host") ? plan_case(*read) : "no problems\n";
}

bool is_bad(const fs::path& dir) { return dir.filename().string().starts_with("bad-"); }

// Files that no part of the case reads.
std::vector<std::string> unused_files(const fs::path& dir) {
  std::set<std::string> used = {"spec.toml", "expected.txt", "set", "host", "qemu", "options"};
  used.insert(line_of(dir / "host", ""));
  std::string specs;
  for (const auto& entry : fs::directory_iterator(dir))
    if (entry.path().extension() == ".toml") specs += read_file(entry.path());
  std::vector<std::string> unused;
  for (const auto& entry : fs::directory_iterator(dir)) {
    const std::string name = entry.path().filename().string();
    if (!used.contains(name) && specs.find('"' + name + '"') == specs.npos) unused.push_back(name);
  }
  return unused;
}

}  // namespace

TEST_CASE("golden: what vmrun says about each spec") {
  const bool update = std::getenv("VMRUN_UPDATE_GOLDEN") != nullptr;
  std::size_t cases = 0;
  for (const auto& entry : fs::directory_iterator(all_cases)) {
    const fs::path dir = entry.path();
    ++cases;
    INFO("case ", dir.filename().string());
    CHECK(entry.is_directory());
    CHECK(fs::exists(dir / "spec.toml"));
    CHECK(fs::exists(dir / "host") == !is_bad(dir));
    CHECK(unused_files(dir) == std::vector<std::string>{});
    const std::string actual = run_case(dir);
    CHECK(actual != "no problems\n");
    if (update) std::ofstream(dir / "expected.txt", std::ios::binary) << actual;
    CHECK(fs::exists(dir / "expected.txt"));
    CHECK(read_file(dir / "expected.txt") == actual);
    CHECK(run_case(dir) == actual);
  }
  CHECK(cases >= 60);
}

TEST_CASE("golden: every message of a bad spec says what is wanted and how to get there") {
  for (const auto& entry : fs::directory_iterator(all_cases)) {
    if (!is_bad(entry.path())) continue;
    INFO("case ", entry.path().filename().string());
    const WorkingDirectory here(entry.path());
    const auto read = launcher::read_spec("spec.toml", lines_of("set"));
    REQUIRE(!read);
    for (const launcher::Problem& problem : read.error().problems) {
      INFO(problem.key, ": ", problem.what);
      CHECK((problem.what.find("wanted") != problem.what.npos || problem.what.starts_with("not TOML: ")));
      CHECK(!problem.help.empty());
      const std::string text = launcher::render(problem, &*read.error().document, false);
      CHECK(text.find("\n  --> ") != text.npos);
    }
  }
}
