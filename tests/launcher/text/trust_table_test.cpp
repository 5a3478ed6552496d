// tests/trust.tsv: every number, what must hold, and tests that are there. (It is about text only: which tests exist is what their files
// say.)
#include <doctest/doctest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "tests/fakes/temp_dir.hpp"

namespace {

namespace fs = std::filesystem;
const fs::path tests = VMRUN_TESTS;

std::vector<std::string> split(const std::string& text, char at) {
  std::vector<std::string> parts;
  std::istringstream in(text);
  for (std::string part; std::getline(in, part, at);) parts.push_back(part.substr(part.find_first_not_of(' ')));
  return parts;
}

// Names as the sources write them: TEST_CASE( "..." ), on one line or the next.
std::set<std::string> names_of_cases() {
  std::set<std::string> names;
  for (const auto& entry : fs::recursive_directory_iterator(tests)) {
    if (!entry.path().string().ends_with("_test.cpp")) continue;
    const std::string text = fakes::read_file(entry.path());
    for (auto at = text.find("TEST_CASE("); at != text.npos; at = text.find("TEST_CASE(", at + 1)) {
      const auto begin = text.find('"', at) + 1;
      names.insert(text.substr(begin, text.find('"', begin) - begin));
    }
  }
  return names;
}

bool has_check(const std::string& script, const std::string& text) {
  static const std::vector<std::string> verbs = {"is ", "has ", "hasnt ", "check ", "exits ", "as_before ", "failed "};
  std::ifstream in(tests / "end_to_end" / (script + "_test.sh"));
  for (std::string line; std::getline(in, line);) {
    const std::string check = line.substr(std::min(line.find_first_not_of(' '), line.size()));
    if (line.find(text) != line.npos &&
        std::ranges::any_of(verbs, [&](const std::string& verb) { return check.starts_with(verb); }))
      return true;
  }
  return false;
}

}  // namespace

TEST_CASE("every number of trust.tsv has tests, and they are there") {
  const std::set<std::string> cases = names_of_cases();
  CHECK(cases.size() > 400);
  std::vector<unsigned> numbers;
  std::ifstream table(tests / "trust.tsv");
  for (std::string line; std::getline(table, line);) {
    if (line.starts_with('#')) continue;
    INFO(line);
    const std::vector<std::string> columns = split(line, '\t');
    REQUIRE(columns.size() == 3);
    numbers.push_back(static_cast<unsigned>(std::stoul(columns[0])));
    CHECK(!columns[1].empty());
    for (const std::string& evidence : split(columns[2], ';')) {
      const std::string kind = evidence.substr(0, evidence.find(' ')), what = evidence.substr(kind.size() + 1);
      if (kind == "case") {
        const auto found = cases.lower_bound(what);
        CHECK_MESSAGE((found != cases.end() && found->starts_with(what)), evidence);
      } else if (kind == "line") {
        const auto colon = what.find(": ");
        REQUIRE_MESSAGE(colon != what.npos, evidence);
        CHECK_MESSAGE(has_check(what.substr(0, colon), what.substr(colon + 2)), evidence);
      } else {
        CHECK_MESSAGE((kind == "golden" && fs::exists(tests / "golden" / what / "expected.txt")), evidence);
      }
    }
  }
  for (unsigned number = 1; number <= 27; ++number)
    CHECK_MESSAGE(std::ranges::count(numbers, number) == 1, "number " << number);
}
