// Libraries of programs: those of real ones beside what their own loader says, and planted ones of composed files.
#include "launcher/record/libraries.hpp"

#include <doctest/doctest.h>
#include <elf.h>
#include <stdio.h>

#include <cstring>
#include <filesystem>
#include <memory>
#include <sstream>

#include "launcher/record/drift.hpp"
#include "launcher/record/elf.hpp"
#include "tests/lacks.hpp"
#include "tests/launcher/record/machine.hpp"

namespace fs = std::filesystem;
using launcher::Elf;
using launcher::Grade;
using record_tests::Machine;

namespace {

template <class Part>
std::string bytes_of(const Part& part) {
  std::string bytes(sizeof part, '\0');
  std::memcpy(bytes.data(), &part, sizeof part);
  return bytes;
}

// An ELF file that says this of itself, and holds nothing else: headers, notes, the dynamic section, its texts.
std::string elf_file(const Elf& elf) {
  std::string note;
  if (!elf.build_id.empty())
    note = bytes_of(Elf64_Nhdr{4, static_cast<Elf64_Word>(elf.build_id.size() / 2), NT_GNU_BUILD_ID}) +
           std::string("GNU\0", 4);
  for (std::size_t i = 0; i < elf.build_id.size(); i += 2)
    note += static_cast<char>(std::stoi(elf.build_id.substr(i, 2), nullptr, 16));
  std::string texts(1, '\0'), dynamic;
  const auto add = [&](Elf64_Sxword tag, const std::string& text) {
    dynamic += bytes_of(Elf64_Dyn{tag, {texts.size()}});
    texts += text + '\0';
  };
  for (const std::string& one : elf.needed) add(DT_NEEDED, one);
  if (!elf.rpath.empty()) add(DT_RPATH, elf.rpath);
  if (!elf.runpath.empty()) add(DT_RUNPATH, elf.runpath);
  if (!elf.name.empty()) add(DT_SONAME, elf.name);
  const std::string interpreter = elf.interpreter + '\0';
  constexpr std::size_t parts = 4, begin = sizeof(Elf64_Ehdr) + parts * sizeof(Elf64_Phdr), address = 0x400000;
  const std::size_t at_note = begin + interpreter.size(), at_dynamic = at_note + note.size();
  const std::size_t at_texts = at_dynamic + dynamic.size() + 2 * sizeof(Elf64_Dyn);
  dynamic += bytes_of(Elf64_Dyn{DT_STRTAB, {address + at_texts}}) + bytes_of(Elf64_Dyn{DT_NULL, {0}});
  Elf64_Ehdr head{};
  std::memcpy(head.e_ident, ELFMAG, SELFMAG);
  head.e_ident[EI_CLASS] = ELFCLASS64;
  head.e_phoff = sizeof head;
  head.e_phentsize = sizeof(Elf64_Phdr);
  head.e_phnum = parts;
  const auto part = [](Elf64_Word type, std::size_t offset, std::size_t size) {
    return bytes_of(Elf64_Phdr{type, PF_R, offset, address + offset, 0, size, size, 4});
  };
  return bytes_of(head) + part(PT_LOAD, 0, at_texts + texts.size()) + part(PT_NOTE, at_note, note.size()) +
         part(PT_DYNAMIC, at_dynamic, dynamic.size()) +
         part(elf.interpreter.empty() ? PT_NULL : PT_INTERP, begin, interpreter.size()) + interpreter + note + dynamic +
         texts;
}

Elf elf(std::string build_id, std::vector<std::string> needed = {}, std::string rpath = "", std::string runpath = "") {
  return {std::move(build_id), "", "", std::move(needed), std::move(rpath), std::move(runpath)};
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
    CHECK(launcher::libraries_of(topology::Sysfs{}, real) == wanted);
  }
}

TEST_CASE("another build of a library is a drift, also of one that only a library asks for") {
  for (const auto& [name, grade] : {std::pair("libglib-2.0.so.0", Grade::changes), {"libpng16.so.16", Grade::may}}) {
    CAPTURE(name);
    Machine machine;
    Elf program = elf("aa", {"libmid.so.1"}, "$ORIGIN/../lib");
    program.interpreter = (machine.dir / "lib/ld-linux-x86-64.so.2").string();
    machine.plan["qemu"] = (machine.dir / "bin/qemu").string();
    fakes::write_file(machine.dir / "bin/qemu", elf_file(program));
    fakes::write_file(program.interpreter, elf_file(elf("bb")));
    fakes::write_file(machine.dir / "lib/libmid.so.1", elf_file(elf("cc", {name, "libgone.so.3"})));
    const fs::path library = machine.dir / (std::string("lib/") + name);
    fakes::write_file(library, elf_file(elf("dd")));
    const launcher::LaunchLock before = machine.lock();
    CHECK(before.facts.at("libraries") == launcher::Values{{"ld-linux-x86-64.so.2", "ld-linux-x86-64.so.2 bb"},
                                                           {"libgone.so.3", "not found"},
                                                           {"libmid.so.1", "libmid.so.1 cc"},
                                                           {name, std::string(name) + " dd"}});
    fakes::write_file(library, elf_file(elf("de")));
    const auto found = launcher::compare(before, machine.lock()).drifts;
    REQUIRE(found.size() == 1);
    CHECK(found[0].group == "libraries");
    CHECK(found[0].name == name);
    CHECK(found[0].was == std::string(name) + " dd");
    CHECK(found[0].is == std::string(name) + " de");
    CHECK(found[0].grade == grade);
  }
}

TEST_CASE("a helper's libraries count as well, where they are not QEMU's") {
  Machine machine;
  const auto write = [&](const char* path, const Elf& what) { fakes::write_file(machine.dir / path, elf_file(what)); };
  Elf qemu = elf("a0", {"libboth.so.1"}, "$ORIGIN/lib"),
      helper = elf("a1", {"libboth.so.1", "libcap.so.2"}, "$ORIGIN/lib");
  qemu.interpreter = helper.interpreter = (machine.dir / "lib/ld.so").string();
  write("qemu", qemu);
  write("passt", helper);
  write("lib/ld.so", elf("b0"));
  write("lib/libboth.so.1", elf("b1"));
  write("lib/libcap.so.2", elf("b2"));
  machine.plan["steps"].as_array().push_back(
      {{"step",
        {{"start_helper", {{"role", "passt"}, {"child", {{"argv", {(machine.dir / "passt").string(), "-f"}}}}}}}},
       {"origin", "spec net[0].mode"}});
  const launcher::LaunchLock before = machine.lock();
  CHECK(before.facts.at("libraries") == launcher::Values{{"ld.so", "ld.so b0"},
                                                         {"libboth.so.1", "libboth.so.1 b1"},
                                                         {"libcap.so.2 of helper passt", "libcap.so.2 b2"}});
  write("lib/libcap.so.2", elf("b3"));
  const auto found = launcher::compare(before, machine.lock()).drifts;
  REQUIRE(found.size() == 1);
  CHECK(found[0].name == "libcap.so.2 of helper passt");
  CHECK(found[0].grade == Grade::may);
}

TEST_CASE("a library is looked for where the one that asks says, else in ldconfig's list") {
  Machine machine;
  const auto write = [&](const char* path, const Elf& what) { fakes::write_file(machine.dir / path, elf_file(what)); };
  Elf program = elf("aa", {"libone.so", "liblast.so"}, "$ORIGIN/r");
  program.interpreter = "/none/ld.so";
  write("qemu", program);
  write("r/libone.so",
        elf("b0", {"libtwo.so", "libthree.so"}));  // of those that it asks for, the program's RPATH is another's, too
  write("r/libtwo.so", elf("b1", {"libthree.so"}, "${ORIGIN}/not here", "$ORIGIN/own"));
  write("r/libthree.so", elf("b2", {"libone.so"}));  // a circle
  write("r/own/libthree.so", elf("b3"));             // libone asked for it first
  write("cached/liblast.so", elf("b4"));
  // one entry as ldconfig writes it, behind one of another architecture
  const std::string path = (machine.dir / "cached/liblast.so").string();
  const std::uint32_t texts = 48 + 2 * 24;
  std::string list = "glibc-ld.so.cache1.1";
  const auto number = [&](std::uint32_t value) { list += bytes_of(value); };
  for (const std::uint32_t value : {2u, 100u, 0u, 0u, 0u, 0u, 0u}) number(value);
  for (const std::uint32_t flags : {0x0a03u, 0x0303u})
    for (const std::uint32_t value : {flags, texts, texts + (flags == 0x0303 ? 11u : 0u), 0u, 0u, 0u}) number(value);
  list += std::string("liblast.so\0", 11) + path + '\0';
  machine.file("/etc/ld.so.cache", list);
  const topology::Sysfs root(machine.dir / "root");
  const auto real = [&](const char* name) { return fs::canonical(machine.dir / name).string(); };
  using Found = std::map<std::string, std::string>;
  const std::string qemu = (machine.dir / "qemu").string();
  CHECK(launcher::libraries_of(root, qemu) == Found{{"ld.so", ""},
                                                    {"libone.so", real("r/libone.so")},
                                                    {"libtwo.so", real("r/libtwo.so")},
                                                    {"libthree.so", real("r/libthree.so")},
                                                    {"liblast.so", path}});
  for (std::size_t size = 0; size < list.size(); size += 5) {  // torn: nothing worse than not found
    machine.file("/etc/ld.so.cache", list.substr(0, size));
    CHECK(launcher::libraries_of(root, qemu).size() == 5);
  }
}

TEST_CASE("a program below a directory that is named as the word for its own is found there, once") {
  Machine machine;
  const auto write = [&](const char* path, const Elf& what) { fakes::write_file(machine.dir / path, elf_file(what)); };
  Elf program = elf("aa", {"libone.so"}, "$ORIGIN/r");
  program.interpreter = "/none/ld.so";
  write("$ORIGIN/qemu", program);
  write("$ORIGIN/r/libone.so", elf("b0"));
  const auto found = launcher::libraries_of(topology::Sysfs{}, (machine.dir / "$ORIGIN/qemu").string());
  CHECK(found.at("libone.so") == fs::canonical(machine.dir / "$ORIGIN/r/libone.so"));
}

TEST_CASE("a file that is no ELF file, or a torn one, has no libraries, and nothing is read beyond its end") {
  const fakes::TempDir dir;
  const std::string path = (dir / "program").string();
  Elf program = elf("0102030405", {"liba.so", "libb.so"}, "/r", "/s");
  program.interpreter = "/lib64/ld.so";
  program.name = "libprogram.so";
  const std::string whole = elf_file(program);
  fakes::write_file(path, whole);
  CHECK(launcher::read_elf_at(path) == program);
  for (std::size_t size = 0; size < whole.size(); ++size) {
    fakes::write_file(path, whole.substr(0, size));
    (void)launcher::read_elf_at(path);
    (void)launcher::libraries_of(topology::Sysfs{dir.path()}, path);
  }
  for (std::size_t at = 0; at < whole.size(); ++at) {  // each byte as large as it can be
    std::string other = whole;
    other[at] = '\xff';
    fakes::write_file(path, other);
    (void)launcher::read_elf_at(path);
  }
  CHECK(!launcher::read_elf_at((dir / "none").string()));
  CHECK(!launcher::read_elf_at("/dev/null"));
}
