// Libraries of programs: those of real ones, and planted ones that a compiler makes.
#include "launcher/record/libraries.hpp"

#include <doctest/doctest.h>
#include <stdio.h>

#include <cstdlib>
#include <filesystem>
#include <memory>
#include <sstream>

#include "launcher/record/drift.hpp"
#include "launcher/record/elf.hpp"
#include "tests/lacks.hpp"
#include "tests/launcher/record/machine.hpp"

namespace fs = std::filesystem;
using launcher::Grade;
using record_tests::Machine;

namespace {

bool has_no_compiler() { return lacks_tool(std::system("cc --version >/dev/null 2>&1") == 0, "a C compiler"); }

// An ELF file with this build id that asks for these files beside it or in `searched`, in order; a program, or a library.
struct Made {
  std::string build_id;
  std::vector<fs::path> needed = {};
  std::string searched = "";  // DT_RUNPATH
  bool program = false;
};

void make(const fs::path& path, const Made& what) {
  fs::create_directories(path.parent_path());
  std::string command = "cc -nostdlib -Wl,--no-as-needed,--allow-shlib-undefined,--build-id=0x" + what.build_id;
  // -e0: it is never run
  command += what.program ? " -pie -Wl,-e0" : " -shared -Wl,-soname," + path.filename().string();
  if (!what.searched.empty()) command += " -Wl,--enable-new-dtags,-rpath,'" + what.searched + "'";
  command += " -x c /dev/null -x none -o '" + path.string() + "'";
  for (const fs::path& one : what.needed) command += " '" + one.string() + "'";
  REQUIRE(std::system(command.c_str()) == 0);
}

// What a program's own loader maps, by its word: "libc.so.6" -> the file.
std::map<std::string, std::string> by_the_loader(const std::string& program) {
  const std::string command = "env -i LD_TRACE_LOADED_OBJECTS=1 '" + program + "'";
  const std::unique_ptr<FILE, int (*)(FILE*)> pipe(popen(command.c_str(), "r"), pclose);
  std::string text;
  for (int byte = 0; (byte = fgetc(pipe.get())) != EOF;) text += static_cast<char>(byte);
  std::map<std::string, std::string> found;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    std::string name, arrow, path;
    words >> name >> arrow >> path;
    if (arrow != "=>") path = name;
    if (path.starts_with("/")) found[fs::path(name).filename()] = fs::canonical(path);
  }
  return found;
}

}  // namespace

TEST_CASE("a program's libraries are those that its loader maps") {
  std::vector<std::string> programs{"/bin/sh", "/proc/self/exe"};
  std::istringstream given(std::getenv("VMRUN_TEST_QEMUS") == nullptr ? "" : std::getenv("VMRUN_TEST_QEMUS"));
  for (std::string path; std::getline(given, path, ':');)
    if (!path.empty()) programs.push_back(path);
  (void)lacks_tool(programs.size() > 2, "the QEMUs of VMRUN_TEST_QEMUS");
  for (const std::string& program : programs) {
    const std::string real = fs::canonical(program);
    CAPTURE(real);
    const auto wanted = by_the_loader(real);
    CHECK(wanted.contains("libc.so.6"));
    CHECK(launcher::libraries_of(real) == wanted);
  }
}

TEST_CASE("another build of a library is a drift, also of one that only a library asks for") {
  if (has_no_compiler()) return;
  for (const auto& [name, grade] : {std::pair("libglib-2.0.so.0", Grade::changes), {"libpng16.so.16", Grade::may}}) {
    CAPTURE(name);
    Machine machine;
    const fs::path library = machine.dir / (std::string("lib/") + name), middle = machine.dir / "lib/libmid.so.1";
    make(library, {"dd"});
    make(middle, {"cc", {library}, "$ORIGIN"});
    make(machine.dir / "bin/qemu", {"aa", {middle}, "$ORIGIN/../lib", true});
    machine.plan["qemu"] = (machine.dir / "bin/qemu").string();
    const launcher::LaunchLock before = machine.lock();
    launcher::Values found = before.facts.at("libraries");
    CHECK(found.erase("ld-linux-x86-64.so.2") == 1);
    CHECK(found == launcher::Values{{"libmid.so.1", "libmid.so.1 cc"}, {name, std::string(name) + " dd"}});
    make(library, {"de"});
    const auto drifts = launcher::compare(before, machine.lock()).drifts;
    REQUIRE(drifts.size() == 1);
    CHECK(drifts[0].group == "libraries");
    CHECK(drifts[0].name == name);
    CHECK(drifts[0].was == std::string(name) + " dd");
    CHECK(drifts[0].is == std::string(name) + " de");
    CHECK(drifts[0].grade == grade);
    fs::remove(middle);
    CHECK(machine.lock().facts.at("libraries").size() == 1);  // none is known but the loader
  }
}

TEST_CASE("a helper's libraries count as well, where they are not QEMU's") {
  if (has_no_compiler()) return;
  Machine machine;
  const fs::path both = machine.dir / "lib/libboth.so.1", own = machine.dir / "lib/libcap.so.2";
  make(both, {"b1"});
  make(own, {"b2"});
  fs::remove(machine.dir / "qemu");
  make(machine.dir / "qemu", {"a0", {both}, "$ORIGIN/lib", true});
  make(machine.dir / "passt", {"a1", {both, own}, "$ORIGIN/lib", true});
  machine.plan["steps"].as_array().push_back(
      {{"step",
        {{"start_helper", {{"role", "passt"}, {"child", {{"argv", {(machine.dir / "passt").string(), "-f"}}}}}}}},
       {"origin", "spec net[0].mode"}});
  const launcher::LaunchLock before = machine.lock();
  launcher::Values found = before.facts.at("libraries");
  CHECK(found.erase("ld-linux-x86-64.so.2") == 1);
  CHECK(found ==
        launcher::Values{{"libboth.so.1", "libboth.so.1 b1"}, {"libcap.so.2 of helper passt", "libcap.so.2 b2"}});
  make(own, {"b3"});
  const auto drifts = launcher::compare(before, machine.lock()).drifts;
  REQUIRE(drifts.size() == 1);
  CHECK(drifts[0].name == "libcap.so.2 of helper passt");
  CHECK(drifts[0].grade == Grade::may);
}

TEST_CASE("a library is found in a place with blanks, arrows and the loader's own words in its name") {
  if (has_no_compiler()) return;
  const fakes::TempDir dir;
  const fs::path place = dir / "a => b (0x12)/$ORIGIN/lib";
  make(place / "libone.so", {"b0"});
  make(place / "../qemu", {"aa", {place / "libone.so"}, "$ORIGIN/lib", true});
  const std::string program = fs::canonical(place / "../qemu");
  CHECK(launcher::libraries_of(program).at("libone.so") == fs::canonical(place / "libone.so"));
}

TEST_CASE("what is no program, or one whose loader is not there, has no libraries that anybody knows") {
  const fakes::TempDir dir;
  const std::string path = (dir / "program").string();
  std::string program = fakes::read_file("/proc/self/exe").substr(0, 4096);
  fakes::write_file(path, program);
  const auto whole = launcher::read_elf(path);
  REQUIRE(whole);
  CHECK(!whole->build_id.empty());
  REQUIRE(whole->interpreter.starts_with("/"));
  const std::size_t at = program.find(whole->interpreter);
  fakes::write_file(path, std::string(program).replace(at, 4, "/non"));
  const std::string name = fs::path(whole->interpreter).filename();
  CHECK(launcher::libraries_of(path) == std::map<std::string, std::string>{{name, ""}});
  for (const std::size_t size : {0u, 3u, 40u, 63u}) {
    fakes::write_file(path, program.substr(0, size));
    CHECK(launcher::libraries_of(path).empty());
  }
  CHECK(launcher::libraries_of((dir / "none").string()).empty());
  CHECK(launcher::libraries_of("/dev/null").empty());
}

TEST_CASE("of a torn ELF file nothing is read beyond its end") {
  const fakes::TempDir dir;
  const std::string path = (dir / "program").string(), whole = fakes::read_file("/proc/self/exe").substr(0, 2048);
  for (std::size_t size = 0; size < whole.size(); size += 7) {
    fakes::write_file(path, whole.substr(0, size));
    (void)launcher::read_elf(path);
  }
  for (std::size_t at = 0; at < whole.size(); ++at) {  // each byte as large as it can be
    std::string other = whole;
    other[at] = '\xff';
    fakes::write_file(path, other);
    (void)launcher::read_elf(path);
  }
  CHECK(!launcher::read_elf((dir / "none").string()));
  CHECK(!launcher::read_elf("/dev/null"));
}
