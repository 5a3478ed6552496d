// golden/<case>/: a spec and what vmrun says about it, compared whole. VMRUN_UPDATE_GOLDEN=1 rewrites expected.txt; a
// file that is missing or that nothing uses fails. A case's files: spec.toml, expected.txt, what spec.toml includes,
// "set" with one --set a line. bad-*: the spec alone is to blame. plan-*: also "host" (one of tests/hosts, or
// "synthetic:..."), and if need be "qemu" (one of tests/qemu, else 10.0) and "options" ("--explain").
#include <doctest/doctest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>
#include <string>

#include "launcher/plan.hpp"
#include "launcher/read_spec.hpp"
#include "topology/read_host.hpp"

namespace {

namespace fs = std::filesystem;

const fs::path golden = fs::path(VMRUN_TESTS) / "golden";

std::string read_file(const fs::path& file) {
  std::ifstream stream(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), {}};
}

std::vector<std::string> lines_of(const fs::path& file) {
  std::vector<std::string> lines;
  std::ifstream stream(file);
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
  return lines;
}

// The case's directory is the current one, so that no path in the output depends on where the tree is.
struct WorkingDirectory {
  fs::path before = fs::current_path();
  explicit WorkingDirectory(const fs::path& dir) { fs::current_path(dir); }
  ~WorkingDirectory() { fs::current_path(before); }
};

std::string line_of(const fs::path& file, const std::string& otherwise) {
  const std::vector<std::string> lines = lines_of(file);
  return lines.empty() ? otherwise : lines.front();
}

// What `vmrun plan spec.toml --host HOST` prints in this directory.
std::string plan_case(const launcher::SpecFile& file) {
  const fs::path tests = VMRUN_TESTS;
  const std::string name = line_of("host", "");
  const auto host = topology::read_host_argument(
      name.starts_with("synthetic:") ? name : (tests / "hosts" / (name + ".json")).string());
  REQUIRE_MESSAGE(host.has_value(), (host ? "" : host.error()));
  const auto qemu = launcher::features_from_json(read_file(tests / "qemu" / (line_of("qemu", "10.0") + ".json")));
  REQUIRE_MESSAGE(qemu.has_value(), (qemu ? "" : qemu.error()));
  const auto plan = launcher::make_plan(file.spec, *host, {}, {}, *qemu, launcher::assumed_facts(file.spec, *host));
  if (!plan) return launcher::render(plan.error(), &file.document, false);
  return launcher::to_text(*plan, *host, line_of("options", "") == "--explain");
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
  for (const auto& entry : fs::directory_iterator(golden)) {
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
  for (const auto& entry : fs::directory_iterator(golden)) {
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
