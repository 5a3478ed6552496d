// Subcommand options: what is taken, and what the user is told when it is not.
#include "launcher/commands/options.hpp"

#include <doctest/doctest.h>

namespace {

using launcher::commands::OptionInfo;
using launcher::commands::Options;

const std::vector<OptionInfo> known = {{"json", "", "as JSON"},
                                       {"timeout", "SECONDS", "how long"},
                                       {"host", "FILE", "another machine"},
                                       {"set", "KEY=VALUE", "override", true}};

Options parse(const std::vector<std::string>& args, std::size_t words = 1) {
  return Options::parse(known, words, args);
}

std::string refusal(const std::vector<std::string>& args, std::size_t words = 1) {
  try {
    parse(args, words);
  } catch (const launcher::commands::UsageError& error) {
    return error.what();
  }
  return "taken";
}

}  // namespace

TEST_CASE("words and options in any order") {
  for (const auto& args : std::vector<std::vector<std::string>>{{"spec.toml", "--json", "--timeout", "5"},
                                                                {"--timeout=5", "--json", "spec.toml"},
                                                                {"--json", "spec.toml", "--timeout", "5"}}) {
    const Options options = parse(args);
    CHECK(options.words() == std::vector<std::string>{"spec.toml"});
    CHECK(options.flag("json"));
    CHECK(options.value("timeout") == "5");
    CHECK(options.number("timeout") == 5.0);
    CHECK(!options.flag("host"));
    CHECK(!options.value("host"));
    CHECK(options.word(0, "a name") == "spec.toml");
  }
}

TEST_CASE("a repeated option keeps all its values, commas, equals signs and spaces included") {
  const Options options = parse({"--set", "cpu.count=4", "--set=disk.0.path=/a b,c", "spec.toml", "--set", "x=[1, 2]"});
  CHECK(options.all("set") == std::vector<std::string>{"cpu.count=4", "disk.0.path=/a b,c", "x=[1, 2]"});
  CHECK(options.words().size() == 1);
  CHECK(parse({}).all("set").empty());
}

TEST_CASE("after -- everything is a word") {
  CHECK(parse({"--", "--json"}).words() == std::vector<std::string>{"--json"});
  CHECK(!parse({"--", "--json"}).flag("json"));
}

TEST_CASE("what is wrong with a command line is said") {
  CHECK(refusal({"--jsn"}) == "no option '--jsn'; did you mean '--json'?; --help lists them");
  CHECK(refusal({"--tiemout", "5"}).find("'--timeout'") != std::string::npos);
  CHECK(refusal({"--word", "a"}) == "no option '--word'; --help lists them");
  CHECK(refusal({"-q"}) == "no option '-q'; --help lists them");
  CHECK(refusal({"--js"}).find("--js") != std::string::npos);  // no guessing
  CHECK(refusal({"--timeout"}).find("--timeout") != std::string::npos);
  CHECK(refusal({"--json=yes"}).find("--json") != std::string::npos);
  CHECK(refusal({"a", "b"}) == "'b' is one word too many");
  CHECK(refusal({"a"}, 0) == "'a' is one word too many");
  CHECK(refusal({"--host", "a", "--host", "b"}) == "--host was given more than once");
  CHECK(refusal({"--set", "a=1", "--set", "b=2"}) == "taken");
  CHECK(refusal({"-x"}) != "taken");
}

TEST_CASE("numbers of seconds") {
  CHECK(parse({"--timeout", "0"}).number("timeout") == 0.0);
  CHECK(parse({"--timeout", "0.25"}).number("timeout") == 0.25);
  CHECK(!parse({}).number("timeout"));
  for (const char* bad : {"abc", "", "-1", "5s", "1e99", "nan", "inf", " 5"}) {
    INFO(std::string(bad));
    CHECK_THROWS_AS((void)parse({std::string("--timeout=") + bad}).number("timeout"), launcher::commands::UsageError);
  }
}

TEST_CASE("a word that is missing is asked for") {
  CHECK_THROWS_WITH_AS((void)parse({}).word(0, "a VM's name"), "wanted a VM's name", launcher::commands::UsageError);
}

TEST_CASE("what stands behind the first word is another program's, where a command says so") {
  const auto words = [](const std::vector<std::string>& args) {
    return Options::parse(known, 100, args, true).words();
  };
  CHECK(words({"db", "ls", "-l", "--json"}) == std::vector<std::string>{"db", "ls", "-l", "--json"});
  CHECK(words({"db", "--", "ls", "-l"}) == std::vector<std::string>{"db", "ls", "-l"});
  CHECK(words({"db", "a", "--", "b"}) == std::vector<std::string>{"db", "a", "--", "b"});
  CHECK(words({"--timeout", "5", "db", "--timeout", "6"}) == std::vector<std::string>{"db", "--timeout", "6"});
  CHECK(words({"--timeout=5", "--json", "db"}) == std::vector<std::string>{"db"});
  CHECK(words({}).empty());
  const Options options = Options::parse(known, 100, {"--timeout", "5", "db", "--json"}, true);
  CHECK(options.number("timeout") == 5.0);
  CHECK(!options.flag("json"));
}
