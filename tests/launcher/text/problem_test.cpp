// How problems look: whole messages, compared as a person reads them.
#include <doctest/doctest.h>

#include <algorithm>
#include <boost/json.hpp>

#include "launcher/text/printable.hpp"
#include "launcher/text/render_problem.hpp"
#include "launcher/text/toml_reader.hpp"

using launcher::Problem;
using launcher::Problems;
using launcher::render;
using launcher::TomlDocument;

namespace {

TomlDocument parsed(std::string_view text, const std::vector<std::string>& overrides = {}) {
  auto document = TomlDocument::parse(text, "db.toml", overrides);
  REQUIRE(document);
  return std::move(*document);
}

}  // namespace

TEST_CASE("a problem is shown with its line and a caret under the whole value") {
  const TomlDocument document = parsed("[memory]\npage = \"1G\"  # big\n");
  CHECK(render(Problem{"memory.page", "node 1 has 12 free 1G pages, this VM needs 16", "set page = \"2M\""}, &document,
               false) ==
        "error: memory.page: node 1 has 12 free 1G pages, this VM needs 16\n"
        "  --> db.toml:2:8\n"
        "2 | page = \"1G\"  # big\n"
        "  |        ^^^^\n"
        "help: set page = \"2M\"\n");
}

TEST_CASE("an absent key is shown at its table, or at the file") {
  const TomlDocument document = parsed("[cpu]\n[[disk]]\nformat = \"raw\"\n");
  CHECK(render(Problem{"cpu.pin", "no", ""}, &document, false) ==
        "error: cpu.pin: no\n  --> db.toml:1:1\n1 | [cpu]\n  | ^^^^^\n");
  CHECK(render(Problem{"disk[0].path", "no", ""}, &document, false) ==
        "error: disk[0].path: no\n  --> db.toml:2:1\n2 | [[disk]]\n  | ^^^^^^^^\n");
  CHECK(render(Problem{"memory.size", "no", ""}, &document, false) == "error: memory.size: no\n  --> db.toml\n");
  CHECK(render(Problem{"", "no", ""}, &document, false) == "error: no\n  --> db.toml\n");
  CHECK(render(Problem{"cpu.pin", "no", "yes"}, nullptr, false) == "error: cpu.pin: no\nhelp: yes\n");
}

TEST_CASE("tabs are kept and code points are counted, so that the caret stands right") {
  const TomlDocument document = parsed("[boot]\n\tcmdline\t= \"a\"\n[[disk]]\n'東京' = { \"ä\u0301\" = 1, b = 2 }\n");
  CHECK(render(Problem{"boot.cmdline", "x", ""}, &document, false) ==
        "error: boot.cmdline: x\n  --> db.toml:2:12\n2 | \tcmdline\t= \"a\"\n  | \t       \t  ^^^\n");
  // Two wide characters, a combining one.
  CHECK(render(Problem{"disk[0].\"東京\".b", "x", ""}, &document, false) ==
        "error: disk[0].\"東京\".b: x\n  --> db.toml:4:24\n4 | '東京' = { \"ä\u0301\" = 1, b = 2 }\n  |                "
        "         ^\n");
}

TEST_CASE("a value over several lines is marked on its first") {
  const TomlDocument document = parsed("[cpu]\npin = [ 1,  \n 2,\n 3 ]\n");
  CHECK(render(Problem{"cpu.pin", "x", ""}, &document, false) ==
        "error: cpu.pin: x\n  --> db.toml:2:7\n2 | pin = [ 1,  \n  |       ^^^^\n");
  CHECK(document.position_of("cpu.pin[2]") == launcher::Position{"db.toml", 4, 2, 3, "", 0});
}

TEST_CASE("a long line is cut around the caret") {
  const std::string many(300, 'x');
  const TomlDocument document = parsed("[boot]\ncmdline = [\"" + many + "\", 7, \"" + many + "\"]\n");
  const std::string text = render(Problem{"boot.cmdline[1]", "x", ""}, &document, false);
  const std::string x38(37, 'x'), x59(57, 'x');
  CHECK(text == "error: boot.cmdline[1]: x\n  --> db.toml:2:316\n2 | ..." + x38 + "\", 7, \"" + std::string(56, 'x') +
                    "...\n  |    " + std::string(40, ' ') + "^\n");
  const std::string first = render(Problem{"boot.cmdline[0]", "x", ""}, &document, false);
  for (std::size_t from = 0; from < first.size(); from = first.find('\n', from) + 1)
    CHECK(first.find('\n', from) - from < 120);
}

TEST_CASE("several problems stand in the order of the file, and are counted") {
  const TomlDocument document = parsed("name = 1\n[cpu]\ncount = 2\npin = 3\n", {"memory.size=1"});
  const Problems problems = {
      {"cpu.pin", "c", ""}, {"memory.size", "e", ""}, {"boot.kernel", "a", ""}, {"cpu.count", "b", ""}};
  CHECK(render(problems, &document, false) ==
        "error: boot.kernel: a\n  --> db.toml\n\n"
        "error: cpu.count: b\n  --> db.toml:3:9\n3 | count = 2\n  |         ^\n\n"
        "error: cpu.pin: c\n  --> db.toml:4:7\n4 | pin = 3\n  |       ^\n\n"
        "error: memory.size: e\n  --> --set memory.size=1\n                        ^\n\n"
        "4 problems in db.toml; nothing was changed\n");
  CHECK(render(Problems{{"x", "a", ""}, {"y", "b", ""}}, nullptr, false) ==
        "error: x: a\n\nerror: y: b\n\n2 problems; nothing was changed\n");
  CHECK(render(Problems{}, &document, false).empty());
}

TEST_CASE("hostile text cannot steer the terminal") {
  const TomlDocument document = parsed("name = \"a\"\n", {"name=\033]0;x\007\n\xff\u202e"});
  const std::string text = render(Problem{"name", "found \033[2J\r and \xc3(", "\u0085\u2066"}, &document, false);
  CHECK(text ==
        "error: name: found \\x1b[2J\\x0d and \\xc3(\n"
        "  --> --set name=\\x1b]0;x\\x07\\n\\xff\\u{202e}\n"
        "                 ^^^^^^^^^^^^^^^^^^^^^^^^^^\n"
        "help: \\u{85}\\u{2066}\n");
  // Our own text may go over several lines; the further ones are indented, so that none looks like a message.
  CHECK(render(Problem{"", "no node has room\nerror: fake", ""}, nullptr, false) ==
        "error: no node has room\n    error: fake\n");
}

TEST_CASE("colours are only there when asked for") {
  const TomlDocument document = parsed("name = \"a\"\n");
  const Problem problem{"name", "x", "y"};
  CHECK(render(problem, &document, false).find('\033') == std::string::npos);
  std::string coloured = render(problem, &document, true);
  CHECK(coloured.starts_with("\033[1;31merror:\033[0m name: x\n"));
  for (std::size_t at = coloured.find('\033'); at != coloured.npos; at = coloured.find('\033'))
    coloured.erase(at, coloured.find('m', at) + 1 - at);
  CHECK(coloured == render(problem, &document, false));
}

TEST_CASE("problems as JSON") {
  const TomlDocument document = parsed("[cpu]\ncount = 0\n", {"memory.size=x\033"});
  const auto json = boost::json::parse(
      launcher::problems_to_json({{"memory.size", "b", ""}, {"cpu.count", "\"a\"", "h"}}, &document));
  CHECK(json == boost::json::parse(R"([
    {"key":"cpu.count","what":"\"a\"","help":"h","file":"db.toml","line":2,"column":9},
    {"key":"memory.size","what":"b","help":"","file":"","line":0,"column":19,"origin":"--set memory.size=x\\x1b"}])"));
  CHECK(launcher::problems_to_json({}, nullptr) == "[]");
}

TEST_CASE("did you mean") {
  const std::vector<std::string> words = {"none", "writeback", "writethrough", "io_uring", "count", "cpu"};
  CHECK(launcher::closest("writebak", words) == "writeback");
  CHECK(launcher::closest("WriteBack", words) == "writeback");
  CHECK(launcher::closest("iouring", words) == "io_uring");
  CHECK(launcher::closest("cuont", words) == "count");
  CHECK(launcher::closest("cpus", words) == "cpu");
  CHECK(launcher::closest("x", words).empty());
  CHECK(launcher::closest("", words).empty());
  CHECK(launcher::closest("network", words).empty());
  CHECK(launcher::closest(std::string(100000, 'a'), words).empty());
  CHECK(launcher::closest("cpu", {}).empty());
}

TEST_CASE("UTF-8 is taken apart as the Unicode standard says") {
  using launcher::first_broken_utf8;
  for (std::string good : {"", "a", "ä", "東", "\U0001F600", "\xf4\x8f\xbf\xbf", "\xed\x9f\xbf"})
    CHECK(first_broken_utf8(good) == good.npos);
  for (std::string bad : {"\x80", "\xc0\xaf", "\xc1\xbf", "\xe0\x80\xaf", "\xed\xa0\x80", "\xf0\x80\x80\x80",
                          "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\xe4\xb8", "\xff"})
    CHECK(first_broken_utf8("ab" + bad) == 2);
  CHECK(launcher::count_code_points("aä東\xff") == 4);
}
