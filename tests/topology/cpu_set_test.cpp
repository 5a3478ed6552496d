// CpuSet: text both ways, every error text, set algebra against std::set.
#include "topology/cpu_set.hpp"

#include <doctest/doctest.h>

#include <random>
#include <set>

using topology::CpuSet;

namespace {

std::string canonical(std::string_view text) {
  const auto set = CpuSet::parse(text);
  return set ? set->to_string() : "error: " + set.error();
}

}  // namespace

TEST_CASE("a cpulist is read and written in canonical form") {
  CHECK(canonical("") == "");
  CHECK(canonical(" \n") == "");
  CHECK(canonical("0") == "0");
  CHECK(canonical("0-3,8") == "0-3,8");
  CHECK(canonical("8,3,2,1,0") == "0-3,8");
  CHECK(canonical("0-3,8,^2") == "0-1,3,8");
  CHECK(canonical("0-7,^2-5") == "0-1,6-7");
  CHECK(canonical("^2,0-3") == "0-3");  // what is taken out before it is put in has no effect, as in libvirt
  CHECK(canonical("0-3,^2,2") == "0-3");
  CHECK(canonical(" 1 , 2\n") == "1-2");
  CHECK(canonical("5,7") == "5,7");
  CHECK(canonical("65535") == "65535");
  CHECK(canonical("0-3,^0-3") == "");
  CHECK(canonical("63-64") == "63-64");
}

TEST_CASE("what is no cpulist is refused and named") {
  CHECK(canonical("3-1") == "error: range \"3-1\" goes downwards");
  CHECK(canonical("-1") == "error: \"-1\" has no CPU number before '-'");
  CHECK(canonical("1-") == "error: \"1-\" has no CPU number after '-'");
  CHECK(canonical("0-99999") == "error: CPU number 99999 is too large (at most 65535)");
  CHECK(canonical("65536") == "error: CPU number 65536 is too large (at most 65535)");
  CHECK(canonical("99999999999999999999") == "error: CPU number 99999999999999999999 is too large (at most 65535)");
  CHECK(canonical("a") == "error: \"a\" is not a CPU number");
  CHECK(canonical("1-a") == "error: \"a\" is not a CPU number");
  CHECK(canonical("1x") == "error: \"1x\" is not a CPU number");
  CHECK(canonical("1-2-3") == "error: \"2-3\" is not a CPU number");
  CHECK(canonical("+1") == "error: \"+1\" is not a CPU number");
  CHECK(canonical("1 2") == "error: \"1 2\" is not a CPU number");
  CHECK(canonical("1,,2") == "error: empty element in \"1,,2\"");
  CHECK(canonical("1,") == "error: empty element in \"1,\"");
  CHECK(canonical(",") == "error: empty element in \",\"");
  CHECK(canonical("1,^") == "error: nothing after '^'");
  CHECK(canonical("^^1") == "error: \"^1\" is not a CPU number");
  CHECK(canonical(std::string(100, 'x')) == "error: \"" + std::string(32, 'x') + "...\" is not a CPU number");
  CHECK(canonical(std::string("\x1b[31m\0", 6)) == "error: \"?[31m?\" is not a CPU number");
}

TEST_CASE("equal sets are equal values, whatever they were built from") {
  CpuSet grown;
  grown.add(1000);
  grown.add(3);
  grown.remove(1000);
  CHECK(grown == CpuSet{3});
  CHECK((CpuSet::range(0, 200) - CpuSet::range(1, 200)) == CpuSet{0});
  CHECK((CpuSet::range(0, 200) & CpuSet{5}) == CpuSet{5});
  CHECK((CpuSet{500} & CpuSet{5}) == CpuSet{});
  CHECK((CpuSet{500} & CpuSet{5}).empty());
  CpuSet cleared{700};
  cleared.remove(700);
  CHECK(cleared.empty());
  cleared.remove(60000);
  CHECK(cleared == CpuSet{});
}

TEST_CASE("questions") {
  const CpuSet set{2, 3, 64, 130};
  CHECK(set.size() == 4);
  CHECK(set.first() == 2);
  CHECK(CpuSet{130}.first() == 130);
  CHECK(set.contains(64));
  CHECK_FALSE(set.contains(65));
  CHECK_FALSE(set.contains(60000));
  CHECK(set.contains(CpuSet{3, 130}));
  CHECK(set.contains(CpuSet{}));
  CHECK_FALSE(set.contains(CpuSet{3, 131}));
  CHECK_FALSE(set.contains(CpuSet{3, 1310}));
  CHECK(set.intersects(CpuSet{130, 1310}));
  CHECK_FALSE(set.intersects(CpuSet{129, 1310}));
  CHECK(set.to_vector() == std::vector<unsigned>{2, 3, 64, 130});
  CHECK(CpuSet::range(5, 4).empty());
  CHECK(CpuSet::range(CpuSet::max_cpu, CpuSet::max_cpu).size() == 1);
}

TEST_CASE("algebra agrees with std::set, and text comes back") {
  std::mt19937 random(1);
  for (int round = 0; round < 300; ++round) {
    std::set<unsigned> a, b;
    CpuSet x, y;
    const unsigned top = round % 2 == 0 ? 70 : 300;
    for (unsigned i = 0; i < random() % 40; ++i) {
      const unsigned cpu = random() % top, other = random() % top;
      a.insert(cpu), x.add(cpu);
      b.insert(other), y.add(other);
    }
    const auto as_set = [](const CpuSet& set) {
      const auto cpus = set.to_vector();
      return std::set<unsigned>(cpus.begin(), cpus.end());
    };
    std::set<unsigned> both, either = a, only_a;
    for (const unsigned cpu : a) (b.contains(cpu) ? both : only_a).insert(cpu);
    either.insert(b.begin(), b.end());
    CHECK(as_set(x | y) == either);
    CHECK(as_set(x & y) == both);
    CHECK(as_set(x - y) == only_a);
    CHECK(x.intersects(y) == !both.empty());
    CHECK(x.contains(y) == (both == b));
    CHECK(CpuSet::parse(x.to_string()) == x);
  }
}

TEST_CASE("a hexadecimal mask is read and written as the kernel writes it") {
  CHECK(CpuSet::parse_mask("f,ffffffff\n").value() == CpuSet::range(0, 35));
  CHECK(CpuSet::parse_mask("00ff").value() == CpuSet::range(0, 7));
  CHECK(CpuSet::parse_mask("0").value().empty());
  CHECK(CpuSet::parse_mask("1,00000000,00000000").value() == CpuSet{64});
  CHECK_FALSE(CpuSet::parse_mask("0-3").has_value());
  CHECK(CpuSet{}.to_mask() == "0");
  CHECK(CpuSet{0, 1, 2, 4}.to_mask() == "17");
  CHECK(CpuSet::range(0, 35).to_mask() == "f,ffffffff");
  CHECK(CpuSet{32}.to_mask() == "1,00000000");
  CHECK(CpuSet{64, 0}.to_mask() == "1,00000000,00000001");
  for (const CpuSet& set : {CpuSet{}, CpuSet{31}, CpuSet{63, 64}, CpuSet{1, 200}})
    CHECK(CpuSet::parse_mask(set.to_mask()).value() == set);
}
