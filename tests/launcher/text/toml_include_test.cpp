// Whose words an include may show, and what it costs to read a document that is hostile or by mistake enormous.
#include <doctest/doctest.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <functional>

#include "launcher/text/render_problem.hpp"
#include "launcher/text/toml_reader.hpp"
#include "tests/lacks.hpp"

using launcher::Problems;
using launcher::render;
using launcher::TableReader;
using launcher::TomlDocument;

namespace fs = std::filesystem;

namespace {

struct Scratch {
  fs::path dir = fs::temp_directory_path() / ("vmrun-include-" + std::to_string(getpid()));
  Scratch() {
    fs::create_directories(dir);
    fs::permissions(dir, fs::perms(0755));
  }
  ~Scratch() { fs::remove_all(dir); }
  std::string write(const std::string& name, const std::string& text, uid_t owner = 0, mode_t mode = 0644) const {
    const fs::path file = dir / name;
    fs::create_directories(file.parent_path());
    std::ofstream(file, std::ios::binary) << text;
    CHECK(chmod(file.c_str(), mode) == 0);
    if (geteuid() == 0) CHECK(chown(file.c_str(), owner, owner) == 0);
    return file.string();
  }
};

// What is said of a document in which `name` may be written; "" if nothing is wrong.
std::string said_of(const std::string& file) {
  const auto document = TomlDocument::load(file, {});
  if (!document) return render(document.error().problems, &document.error().document, false);
  Problems problems;
  TableReader root(*document, problems);
  root.text("name", "");
  root.texts("include");
  root.finish();
  return render(problems, &*document, false);
}

bool is_quoted(const std::string& said) { return said.find("hunter2") != std::string::npos; }

constexpr const char* secret = "root:hunter2:19000:0:99999:7:::\nhunter2: x\n";

double cpu_seconds(const std::function<void()>& act) {
  double least = 1e9;
  for (int i = 0; i < 3; ++i) {
    const std::clock_t start = std::clock();
    act();
    least = std::min(least, static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC);
  }
  return least;
}

// How the CPU time grows when the work is eight times as much: 8 if it is linear, 64 if each looks at each other.
double growth(std::size_t count, const std::function<void(std::size_t)>& act) {
  return cpu_seconds([&] { act(8 * count); }) / std::max(cpu_seconds([&] { act(count); }), 1e-5);
}

}  // namespace

TEST_CASE("an include that is not TOML shows where, and nothing of what is in it") {
  const Scratch scratch;
  const std::string shadow = scratch.write("shadow", secret);
  for (const char* text : {secret, "[hunter2\n", "a = hunter2\n", "a = \"hunter2\n", "[[a]]\n[a]\nb = [hunter2\n",
                           "hunter2 = 1\nhunter2 = 2\n", "a = \xff hunter2", "x = '''hunter2"}) {
    INFO(text);
    scratch.write("shadow", text);
    const std::string said = said_of(scratch.write("vm.toml", "include = [\"shadow\"]\n"));
    CHECK(!is_quoted(said));
    CHECK(said.find("--> " + shadow + ":") != std::string::npos);
  }
  scratch.write("shadow", secret);
  CHECK(said_of(scratch.write("vm.toml", "include = [\"shadow\"]\n")) ==
        "error: this file is not TOML; wanted key = value, and headers such as [cpu]\n  --> " + shadow +
            ":1:5\nhelp: what it has there is not shown, as it is included and not called *.toml\n");
  // A link of another name does not make it one.
  fs::create_symlink("shadow", scratch.dir / "link.toml");
  CHECK(!is_quoted(said_of(scratch.write("vm.toml", "include = [\"link.toml\"]\n"))));
  // By its name it is a spec's part with a slip, and the spec itself is the user's own.
  scratch.write("base.toml", secret);
  CHECK(is_quoted(said_of(scratch.write("vm.toml", "include = [\"base.toml\"]\n"))));
  CHECK(is_quoted(said_of(scratch.write("vm.toml", secret))));
  // What parsed has a key that nobody knows: that is worth its line.
  scratch.write("shadow", "hunter2 = 1\n");
  CHECK(is_quoted(said_of(scratch.write("vm.toml", "include = [\"shadow\"]\n"))));
}

TEST_CASE("root includes for a user's spec only what that user may read") {
  if (lacks(geteuid() == 0, "root, who alone reads for others")) return;
  const Scratch scratch;
  constexpr uid_t user = 12345;
  scratch.write("roots.toml", "hunter2 = 1\n", 0, 0600);
  scratch.write("group.toml", "hunter2 = 1\n", 0, 0640);
  scratch.write("open.toml", "name = \"a\"\n", 0, 0644);
  scratch.write("own.toml", "name = \"a\"\n", user, 0600);
  scratch.write("closed/open.toml", "hunter2 = 1\n", 0, 0644);
  fs::permissions(scratch.dir / "closed", fs::perms(0700));
  scratch.write("between.toml", "include = [\"roots.toml\"]\n", 0, 0644);
  const auto of = [&](const std::string& include, uid_t owner) {
    return said_of(scratch.write("vm.toml", "include = [\"" + include + "\"]\n", owner));
  };
  for (const char* include : {"roots.toml", "group.toml", "closed/open.toml", "between.toml"}) {
    INFO(include);
    const std::string said = of(include, user);
    CHECK(!is_quoted(said));
    CHECK(said.find("uid 12345, whose spec this is, may not read it") != std::string::npos);
    CHECK(is_quoted(of(include, 0)));  // root's own spec
  }
  CHECK(of("open.toml", user) == "");
  CHECK(of("own.toml", user) == "");
  // root's spec includes a user's, and that one what is root's
  scratch.write("theirs.toml", "include = [\"roots.toml\"]\n", user, 0644);
  CHECK(!is_quoted(of("theirs.toml", 0)));
  CHECK(geteuid() == 0);
  CHECK(std::ifstream(scratch.dir / "roots.toml").good());  // root is root again
}

TEST_CASE("as many unknown keys as there may be cost what they are long") {
  const Scratch scratch;
  const auto act = [&](std::size_t count) {
    std::string text;
    for (std::size_t i = 0; i < count; ++i) text += fmt::format("k{} = 1\n", i);
    const std::string said = said_of(scratch.write("vm.toml", text));
    CHECK(said.find(fmt::format("{} more keys", count - 100)) != std::string::npos);
    CHECK(std::count(said.begin(), said.end(), '\n') < 1000);
  };
  CHECK(growth(1000, act) < 20);
}

TEST_CASE(
    "a missing key that was misspelled is not told, wherever it stands; with many tables at no cost for each pair") {
  const Scratch scratch;
  const auto act = [&](std::size_t count) {
    std::string text;
    for (std::size_t i = 0; i < count; ++i) text += "[[disk]]\npaht = 1\n";
    const auto document = TomlDocument::load(scratch.write("vm.toml", text), {});
    REQUIRE(document);
    Problems problems;
    TableReader root(*document, problems);
    root.tables("disk", [](TableReader& disk) { disk.required_text("path"); });
    root.finish();
    // the first hundred say which key was meant; of the others it is said once, and what they miss
    CHECK(problems.size() == count + 1);
    CHECK(!render(problems, &*document, false).empty());
  };
  CHECK(growth(1000, act) < 20);
}

TEST_CASE("a list of many includes ends at the first too many") {
  const Scratch scratch;
  std::string list;
  const auto act = [&](std::size_t count) {
    list.clear();
    for (std::size_t i = 0; i < count; ++i) list += fmt::format("\"none{}\", ", i);
    const auto document = TomlDocument::load(scratch.write("vm.toml", "include = [" + list + "]\n"), {});
    REQUIRE(!document);
    CHECK(document.error().problems.size() == 1);
    CHECK(document.error().problems[0].what.find("wanted at most 256") != std::string::npos);
    CHECK(!render(document.error().problems, &document.error().document, false).empty());
  };
  CHECK(growth(1250, act) < 20);
  // the same in a tree of includes
  for (int i = 0; i < 20; ++i) {
    list.clear();
    for (int k = 0; k < 100; ++k) list += fmt::format("\"none{}\", ", k);
    scratch.write(fmt::format("f{}.toml", i), "include = [" + list + "]\n");
  }
  list.clear();
  for (int i = 0; i < 20; ++i) list += fmt::format("\"f{}.toml\", ", i);
  const auto tree = TomlDocument::load(scratch.write("vm.toml", "include = [" + list + "]\n"), {});
  REQUIRE(!tree);
  CHECK(tree.error().problems.size() < 1100);
}
