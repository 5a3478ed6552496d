// Documents (includes, --set, positions) and typed reads.
#include "launcher/text/toml_reader.hpp"

#include <doctest/doctest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "launcher/text/render_problem.hpp"

using launcher::KeyInfo;
using launcher::Problems;
using launcher::TableReader;
using launcher::TomlDocument;
using topology::Bytes;
using topology::CpuSet;
using topology::mib;

namespace fs = std::filesystem;

namespace {

struct Scratch {
  fs::path dir = fs::temp_directory_path() / ("vmrun-toml-" + std::to_string(getpid()));
  Scratch() { fs::create_directories(dir); }
  ~Scratch() { fs::remove_all(dir); }
  fs::path write(const std::string& name, const std::string& text) const {
    fs::create_directories((dir / name).parent_path());
    std::ofstream(dir / name, std::ios::binary) << text;
    return dir / name;
  }
};

// Runs `read` over a text; its problems as "key: what", one a line.
template <class Read>
std::string problems_of(std::string_view text, const Read& read, const std::vector<std::string>& overrides = {}) {
  const auto document = TomlDocument::parse(text, "t.toml", overrides);
  if (!document) return launcher::render(document.error().problems, &document.error().document, false);
  Problems problems;
  TableReader root(*document, problems);
  read(root);
  root.finish();
  std::string lines;
  for (const auto& problem : problems) lines += problem.key + ": " + problem.what + "\n";
  return lines;
}

std::string texts_of(const TomlDocument& document, const std::string& table, const std::string& key) {
  Problems problems;
  std::string all;
  TableReader root(document, problems);
  root.tables(table, [&](TableReader& one) { all += one.text(key, "-") + " "; });
  return all;
}

}  // namespace

TEST_CASE("values of the right type are read, fallbacks are for absent ones") {
  CHECK(problems_of(R"(
    s = "text"
    b = true
    i = 5
    z = "16G"
    p = "2M"
    c = "0-3,8"
    c2 = "0"
    n = [3, 1, 2]
    l = ["a", "b"]
    e = "two"
    a = "auto"
  )",
                    [](TableReader& t) {
                      CHECK(t.text("s", "x") == "text");
                      CHECK(t.text("s2", "x") == "x");
                      CHECK(t.flag("b", false));
                      CHECK(t.flag("b2", true));
                      CHECK(t.integer("i", 1, 0, 5) == 5);
                      CHECK(t.integer("i2", 1, 0, 5) == 1);
                      CHECK(t.required_size("z", mib(1), topology::gib(32)) == topology::gib(16));
                      CHECK(t.size("z2", mib(3), mib(1), mib(9)) == mib(3));
                      CHECK(t.size_or_auto("p", {topology::kib(4), mib(2)}) == mib(2));
                      CHECK(t.cpus_or_auto("c") == *CpuSet::parse("0-3,8"));
                      CHECK(t.cpus_or_auto("c2") == CpuSet{0});  // not the "0" that stands for false
                      CHECK(t.numbers_or_auto("n") == std::vector<unsigned>{3, 1, 2});
                      CHECK(t.texts("l") == std::vector<std::string>{"a", "b"});
                      CHECK(t.texts("l2").empty());
                      CHECK(t.choice("e", {"one", "two"}, 0) == 1);
                      CHECK(t.choice("e2", {"one", "two"}, 1) == 1);
                      CHECK(t.is_text("a", "auto"));
                      CHECK(!t.flag_or_auto("a"));
                      CHECK(!t.integer_or_auto("a", 1, 2));
                      CHECK(!t.size_or_auto("a", {mib(2)}));
                      CHECK(!t.cpus_or_auto("a"));
                      CHECK(!t.numbers_or_auto("none"));
                      CHECK(t.has("s"));
                      CHECK(!t.has("none"));
                    })
            .empty());
}

TEST_CASE("wrong values are problems, each with its key") {
  CHECK(problems_of("i = \"5\"\nr = 1.5\nd = 2020-01-01\nb = 1\nl = [\"a\", 2]\nn = [1, -1, 70000]\ne = \"tow\"\nz = "
                    "\"1K\"\nzz = \"99G\"\n[t]\n",
                    [](TableReader& t) {
                      CHECK(t.integer("i", 7, 0, 9) == 7);
                      t.integer("r", 0, 0, 9);
                      t.text("d", "");
                      t.flag("b", false);
                      t.texts("l");
                      t.numbers_or_auto("n");
                      t.choice("e", {"one", "two"}, 0);
                      t.size("z", mib(2), mib(1), mib(9));
                      t.size("zz", mib(2), mib(1), mib(9));
                      t.table("t", [](TableReader& inner) { inner.required_text("x"); });
                      t.required_text("y");
                    }) ==
        "i: \"5\" is a string; wanted a whole number from 0 to 9\n"
        "r: this is a number with a fraction; wanted a whole number from 0 to 9\n"
        "d: this is a date or time; wanted a string\n"
        "b: 1 is a number; wanted true or false\n"
        "l[1]: 2 is a number; wanted a string\n"
        "n[1]: -1 is a number; wanted a whole number from 0 to 65535\n"
        "n[2]: 70000 is a number; wanted a whole number from 0 to 65535\n"
        "e: \"tow\" is not known here; wanted \"one\" or \"two\"\n"
        "z: 1K is too small; wanted a size from 1M to 9M\n"
        "zz: 99G is too large; wanted a size from 1M to 9M\n"
        "t.x: is missing; wanted a string\n"
        "y: is missing; wanted a string\n");
}

TEST_CASE("a NUL byte never gets through") {
  CHECK(problems_of(R"(s = "a\u0000b"
l = ["\u0000"]
p = "x\u0000"
)",
                    [](TableReader& t) {
                      CHECK(t.text("s", "").empty());
                      t.texts("l");
                      CHECK(t.path("p", true).empty());
                    }) ==
        "s: \"a\\x00b\" contains a NUL byte; wanted text without\nl[0]: \"\\x00\" contains a NUL byte; wanted text "
        "without\n"
        "p: \"x\\x00\" contains a NUL byte; wanted text without\n");
}

TEST_CASE("unknown keys: did you mean, and what is missing only by its name is not said twice") {
  const auto document = TomlDocument::parse("[memroy]\nsize = \"1G\"\n[cpu]\n\"a.b\" = 1\npage_size = 3\n", "t.toml");
  Problems problems;
  TableReader root(*document, problems);
  root.table("memory", [](TableReader& t) { t.required_text("size"); });
  root.table("cpu", [](TableReader& t) { t.text("page", ""); });
  root.finish();
  REQUIRE(problems.size() == 3);
  CHECK(problems[0] == launcher::Problem{"cpu.\"a.b\"", "[cpu] has no key \"a.b\"; wanted page",
                                         "remove it, or use one of those keys", true});
  CHECK(problems[1].help == "did you mean \"page\"?");
  CHECK(problems[2] ==
        launcher::Problem{"memroy", "there is no [memroy]; wanted [memory] or [cpu]", "did you mean [memory]?", true});
  CHECK(document->position_of(problems[0]) == launcher::Position{"t.toml", 4, 1, 6, "", 0});
}

TEST_CASE("describe mode notes every key, and nothing else") {
  const auto nothing = TomlDocument::parse("", "");
  Problems problems;
  std::vector<KeyInfo> keys;
  TableReader root(*nothing, problems, &keys);
  root.integer("i", 0, 1, 9, true);
  root.tables("list", [](TableReader& t) {
    t.choice("e", {"auto", "x"}, 0);
    if (!t.is_text("n", "off")) t.numbers_or_auto("n");
    t.path("p", true);
  });
  root.finish();
  REQUIRE(keys.size() == 5);
  CHECK(keys[0] == KeyInfo{"i", "integer", {}, false, 1, 9, true});
  CHECK(keys[1] == KeyInfo{"list", "tables"});
  CHECK(keys[2] == KeyInfo{"list[].e", "string", {"auto", "x"}, true});
  CHECK(keys[3] == KeyInfo{"list[].n", "cpus", {"auto", "off"}, true});
  CHECK(keys[4] == KeyInfo{"list[].p", "string", {}, false, {}, {}, true, true});
}

TEST_CASE("includes: tables merge, scalars and lists are replaced, arrays of tables are appended to") {
  const Scratch scratch;
  scratch.write(
      "common/base.toml",
      "include = [\"deep.toml\"]\nname = \"base\"\nlist = [1, 2]\n[cpu]\ncount = 2\n[[disk]]\npath = \"base.raw\"\n");
  scratch.write("common/deep.toml", "name = \"deep\"\nonly = \"deep\"\n[[disk]]\npath = \"deep.raw\"\n");
  scratch.write("more.toml", "include = [\"common/deep.toml\"]\n[cpu]\ncount = 3\nmodel = \"more\"\n");
  const fs::path spec = scratch.write("spec.toml",
                                      "include = [\"common/base.toml\", \"more.toml\"]\nlist = [3]\n[cpu]\nthreads = "
                                      "2\n[[disk]]\npath = \"own.raw\"\n");
  const auto document = TomlDocument::load(spec, {"disk.3.path=x", "disk.0.path='y'"});
  REQUIRE(document);
  Problems problems;
  TableReader root(*document, problems);
  CHECK(root.text("name", "") == "base");
  CHECK(root.text("only", "") == "deep");
  CHECK(root.numbers_or_auto("list") == std::vector<unsigned>{3});
  root.table("cpu", [](TableReader& cpu) {
    CHECK(cpu.integer("count", 0, 0, 9) == 3);
    CHECK(cpu.text("model", "") == "more");
    CHECK(cpu.integer("threads", 0, 0, 9) == 2);
  });
  CHECK(problems.empty());
  // deep.toml counts once, although two files include it
  CHECK(texts_of(*document, "disk", "path") == "y base.raw own.raw x ");
  CHECK(document->position_of("name").file == scratch.dir / "common/base.toml");
  CHECK(document->position_of("name").line == 2);
  CHECK(document->position_of("cpu.threads").file == spec);
  CHECK(document->position_of("disk[0].path").origin == "--set disk.0.path='y'");
  CHECK(document->position_of("disk[0].path").line == 0);
  CHECK(document->source_line(document->position_of("cpu.count")) == "count = 3");
  CHECK(document->directory_of("disk[1].path") == scratch.dir / "common");
  CHECK(document->directory_of("disk[2].path") == scratch.dir);
  CHECK(document->directory_of("disk[3].path") == fs::current_path());
  std::string paths;
  root.tables("disk", [&](TableReader& disk) { paths += disk.path("path", true) + "\n"; });
  CHECK(paths == (fs::current_path() / "y").string() + "\n" + (scratch.dir / "common/base.raw").string() + "\n" +
                     (scratch.dir / "own.raw").string() + "\n" + (fs::current_path() / "x").string() + "\n");
}

TEST_CASE("includes that lead nowhere or too deep") {
  const Scratch scratch;
  for (int i = 0; i < 20; ++i)
    scratch.write("f" + std::to_string(i) + ".toml", "include = [\"f" + std::to_string(i + 1) + ".toml\"]\n");
  scratch.write("f20.toml", "");
  const auto deep = TomlDocument::load(scratch.dir / "f0.toml", {});
  REQUIRE(!deep);
  CHECK(deep.error().problems[0].what.starts_with("the includes go more than 16 files deep"));
  CHECK(deep.error().document.position_of(deep.error().problems[0]).file == scratch.dir / "f16.toml");
  CHECK(TomlDocument::load(scratch.dir / "f4.toml", {}));

  const auto self = TomlDocument::load(scratch.write("self.toml", "include = [\"./self.toml\"]\n"), {});
  REQUIRE(!self);
  CHECK(self.error().problems[0].what ==
        "the files include each other in a circle (self.toml -> self.toml); wanted an end");

  const auto device = TomlDocument::load(scratch.write("dev.toml", "include = [\"/dev/zero\", \".\", \"\"]\n"), {});
  REQUIRE(!device);
  CHECK(device.error().problems.size() == 3);
  CHECK(device.error().problems[0].what ==
        "cannot read \"/dev/zero\": it is a character device, and no regular file; wanted a TOML file");

  const auto missing = TomlDocument::load(scratch.dir / "none.toml", {});
  REQUIRE(!missing);
  CHECK(launcher::render(missing.error().problems, &missing.error().document, false) ==
        "error: cannot read the file: No such file or directory; wanted a TOML file\n  --> " +
            (scratch.dir / "none.toml").string() + "\nhelp: check the path, and that you may read it\n");
  CHECK(!TomlDocument::load(scratch.dir, {}));
  CHECK(!TomlDocument::load("/dev/zero", {}));
}

TEST_CASE("--set: TOML values, bare strings, new tables, indices both ways") {
  int checked = 0;
  const auto read = [&](const std::string& set, const auto& check) {
    problems_of("[cpu]\ncount = 1\n[[disk]]\npath = \"a\"\n",
                [&](TableReader& root) {
                  ++checked;
                  check(root);
                },
                {set});
  };
  const auto text_in = [](TableReader& root, std::string_view table, std::string_view key) {
    std::string value;
    root.table(table, [&](TableReader& t) { value = t.text(key, "absent"); });
    return value;
  };
  read("cpu.count=4",
       [](TableReader& root) { root.table("cpu", [](TableReader& t) { CHECK(t.integer("count", 0, 0, 99) == 4); }); });
  read("cpu.list=[\"a\", 'b']", [](TableReader& root) {
    root.table("cpu", [](TableReader& t) { CHECK(t.texts("list") == std::vector<std::string>{"a", "b"}); });
  });
  read("cpu.model=host", [&](TableReader& root) { CHECK(text_in(root, "cpu", "model") == "host"); });
  read("boot.cmdline=console=ttyS0 a=\"b\" # c",
       [&](TableReader& root) { CHECK(text_in(root, "boot", "cmdline") == "console=ttyS0 a=\"b\" # c"); });
  read("boot.cmdline='1' # c", [&](TableReader& root) { CHECK(text_in(root, "boot", "cmdline") == "'1' # c"); });
  read("boot.cmdline=1\ncmdline = 2",
       [&](TableReader& root) { CHECK(text_in(root, "boot", "cmdline") == "1\ncmdline = 2"); });
  read("name=2024-01-02", [](TableReader& root) { CHECK(root.text("name", "") == "2024-01-02"); });
  read("name=", [](TableReader& root) { CHECK(root.has("name")); });
  read("name=\"\\u00e4\"", [](TableReader& root) { CHECK(root.text("name", "") == "ä"); });
  for (const char* set : {"disk.0.path=b", "disk[0].path=b", "disk.0={path=\"b\"}", "disk=[{path=\"b\"}]"})
    read(set, [](TableReader& root) { root.tables("disk", [](TableReader& t) { CHECK(t.text("path", "") == "b"); }); });
  read("disk.1.flag=true", [](TableReader& root) {
    int flags = 0;
    root.tables("disk", [&](TableReader& t) { flags += t.flag("flag", false); });
    CHECK(flags == 1);
  });
  CHECK(checked == 14);
}

TEST_CASE("--set that cannot be: each says so, at its place in the argument") {
  const auto said = [](const std::string& set) {
    const auto document = TomlDocument::parse("[cpu]\ncount = 1\n[[disk]]\npath = \"a\"\n", "t.toml", {set});
    REQUIRE(!document);
    return launcher::render(document.error().problems, &document.error().document, false);
  };
  CHECK(said("cpu.count") ==
        "error: \"cpu.count\" has no '='; wanted key=value\n  --> --set cpu.count\n            ^^^^^^^^^\nhelp: for "
        "example --set cpu.count=4\n");
  CHECK(said("disk.7.path=x") ==
        "error: disk[7]: there is 1 of these; wanted an index from 0 to 1\n  --> --set disk.7.path=x\n                 "
        "^\nhelp: --set disk.1... adds one\n");
  CHECK(said("cpu.count.x=1").starts_with("error: cpu.count: 1 is a number, which has no keys; wanted a table\n"));
  for (const char* set : {"", "=1", ".=1", "a..b=1", "a.=1", "[0]x=1", "a[x]=1", "a[=1", "\"a=1", "a b=1",
                          "disk.path=1", "disk[999999999999].path=1", "\xff=1"}) {
    INFO(set);
    CHECK(said(set).find("help: ") != std::string::npos);
  }
}

TEST_CASE("what is no TOML is explained by its line") {
  const auto said = [](std::string_view text) {
    const auto document = TomlDocument::parse(text, "t.toml");
    REQUIRE(!document);
    REQUIRE(document.error().problems.size() == 1);
    const auto& problem = document.error().problems[0];
    const auto at = document.error().document.position_of(problem);
    return std::to_string(at.line) + ":" + std::to_string(at.column) + " " + problem.what + " | " + problem.help;
  };
  CHECK(said("a = yes # b\n") ==
        "1:5 not TOML: found yes; wanted true or false, or a string in quotes | write a = true, or a = \"yes\"");
  CHECK(said("a = /x/y\n") ==
        "1:5 not TOML: found /x/y without quotes; wanted a string, a number, true or false | strings need quotes: a = "
        "\"/x/y\"");
  CHECK(said("a = 007\n") ==
        "1:5 not TOML: 007 starts with a zero; wanted a number without leading zeros | write a = 7");
  CHECK(said("a = 99999999999999999999\n") ==
        "1:5 not TOML: found 99999999999999999999; wanted a whole number below 2^63 | write a smaller number");
  CHECK(said("a = \"b\" c\n").starts_with("1:9 not TOML: found \"c\" after the value"));
  CHECK(said("\n\na = \"b\nc = 1\n").starts_with("3:5 not TOML: the string is not closed"));
  CHECK(said("a = [1,\n 2,\n\n").find("ends in the middle") != std::string::npos);
  CHECK(said("a = \"\"\"x\ny\n").starts_with("2:1 not TOML: the file ends in the middle"));
  CHECK(said("just words\n").starts_with("1:1 not TOML: found \"just words\"; wanted key = value"));
  CHECK(said("<domain type='kvm'>\n").find("wanted") != std::string::npos);
  CHECK(said("{\"name\": 1}\n").find("wanted") != std::string::npos);
  // toml++ 3.3 asserts on these
  CHECK(said("a = 1\n[\ncpu]\n").starts_with("2:1 not TOML: a header without a name"));
  CHECK(said("[köln]\n").starts_with("1:1 not TOML: found \"[köln]\"; wanted a header of letters"));
  CHECK(said("[[/]]\n").starts_with("1:1 not TOML: found \"[[/]]\""));
  // ... and takes U+00A1 to U+0499 outside of strings for impossible
  for (const char* text : {"[[diskö = 1\n", "ö = 1\n", "a = 1 ö\n", "[cpu] ö\n", "a ö = 1\n", "a = ö\n", "a = [1 ö]\n",
                           "a = {ö = 1}\n", "a = 1ö\n"})
    CHECK(said(text).find("wanted") != std::string::npos);
  CHECK(said("[]\n").starts_with("1:1 not TOML: a header without a name"));
  CHECK(said("a = \"\x01\"\n").starts_with("1:5 not TOML:"));
  CHECK(said("\x1b[2J\n").find('\x1b') == std::string::npos);
  CHECK(said("a = 1\r\nb = x\r\n").starts_with("2:5 not TOML: found x without quotes"));
  CHECK(said(std::string("a = \"\0\"", 7)).starts_with("1:5 not TOML:"));
}

TEST_CASE("a BOM and CRLF do not move the caret") {
  const auto document = TomlDocument::parse("\xef\xbb\xbfname = 1\r\n", "t.toml");
  REQUIRE(document);
  CHECK(document->position_of("name") == launcher::Position{"t.toml", 1, 8, 9, "", 0});
  CHECK(document->source_line(document->position_of("name")) == "name = 1");
}

TEST_CASE("what is nested too deep, or too long, is refused and not crashed on") {
  std::string dots = "a";
  for (int i = 0; i < 100000; ++i) dots += ".a";
  CHECK(!TomlDocument::parse(dots + " = 1\n", "t.toml"));
  CHECK(!TomlDocument::parse("a = " + std::string(100000, '['), "t.toml"));
  CHECK(!TomlDocument::parse(std::string(2 << 20, '#'), "t.toml"));
  CHECK(!TomlDocument::parse("", "t.toml", {dots + "=1"}));
}

TEST_CASE("what people mean who write another program's words is one of the choices, and told") {
  const auto help_of = [](const std::string& line, const std::function<void(TableReader&)>& read) {
    const auto document = TomlDocument::parse(line + "\n", "vm.toml");
    REQUIRE(document);
    Problems problems;
    TableReader root(*document, problems);
    read(root);
    return problems.empty() ? std::string("none") : problems[0].help;
  };
  const auto choice = [&](const std::string& value, const std::vector<std::string>& choices) {
    return help_of("k = " + value, [&](TableReader& root) { root.choice("k", choices, 0); });
  };
  const std::vector<std::string> interfaces = {"virtio-blk", "virtio-scsi", "nvme"};
  CHECK(choice("\"virtio-scsi-pci\"", interfaces) == "did you mean \"virtio-scsi\"?");
  CHECK(choice("\"virtio\"", interfaces) == "did you mean \"virtio-blk\"?");
  CHECK(choice("\"NVMe\"", interfaces) == "did you mean \"nvme\"?");
  const std::vector<std::string> modes = {"user", "tap", "macvtap", "passt"};
  CHECK(choice("\"bridge\"", modes) == "did you mean \"tap\"?");
  CHECK(choice("\"virtio\"", modes) == "did you mean \"tap\"?");
  CHECK(choice("\"nat\"", modes) == "did you mean \"user\"?");
  CHECK(choice("\"kvm64\"", {"auto", "kvm", "tcg"}) == "did you mean \"kvm\"?");
  CHECK(choice("\"libaio\"", {"auto", "io_uring", "native", "threads"}) == "did you mean \"native\"?");
  CHECK(choice("true", {"off", "on", "unmap"}) == "did you mean \"on\"?");
  CHECK(choice("\"windows11\"", {"none", "latency", "windows"}) == "did you mean \"windows\"?");
  CHECK(choice("\"zzz\"", modes) == "choose one of these, for example k = \"user\"");

  const auto flag = [&](const std::string& value) {
    return help_of("k = " + value, [](TableReader& root) { root.flag("k", false); });
  };
  for (const char* yes : {"\"yes\"", "\"true\"", "\"on\"", "1"}) CHECK(flag(yes) == "write k = true, without quotes");
  for (const char* no : {"\"no\"", "\"False\"", "\"off\"", "0"}) CHECK(flag(no) == "write k = false, without quotes");
  CHECK(flag("\"perhaps\"") == "write k = true or k = false, without quotes");

  const auto size = [&](const std::string& value) {
    return help_of("k = " + value, [](TableReader& root) { root.size("k", {0}, topology::mib(1), topology::gib(8)); });
  };
  for (const char* good : {"\"4GB\"", "\"4GiB\"", "\"4 G\"", "\"4G\""}) CHECK(size(good) == "none");
  CHECK(size("\"4gb\"") == "write k = \"4G\"");
  CHECK(size("\"1.5G\"") == "write k = \"1536M\"");
  const auto page = [&](const std::string& value) {
    return help_of("k = " + value, [](TableReader& root) {
      root.size_or_auto("k", {topology::kib(4), topology::mib(2), topology::gib(1)});
    });
  };
  CHECK(page("\"hugepages\"") == "did you mean k = \"2M\"?");

  const auto inner = [&](const std::string& line) {
    return help_of("[[d]]\n" + line, [](TableReader& root) {
      root.tables("d", [](TableReader& one) {
        one.table("create", [](TableReader& table) { table.size("size", {0}, topology::mib(1), topology::gib(99)); });
      });
    });
  };
  CHECK(inner("create = \"20G\"") == "write create = { size = \"20G\" }");
  CHECK(inner("create = true") == "write create = { size = \"20G\" }");
}
