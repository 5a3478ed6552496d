// What an ablation sets where a profile set something: the value that nobody's word stands for, and no key of a profile forgotten.
#include "launcher/spec/profiles.hpp"

#include <doctest/doctest.h>
#include <fmt/format.h>

#include <algorithm>
#include <cctype>

#include "launcher/spec/read_spec.hpp"

using namespace launcher;

namespace {

constexpr const char* plain =
    "name = \"a\"\n[memory]\nsize = \"4G\"\n[[disk]]\npath = \"a.raw\"\n[[net]]\nmode = \"user\"\n[guest]\n[balloon]\n";

TomlDocument document_of(const std::string& text, const std::vector<std::string>& sets = {}) {
  auto document = TomlDocument::parse(text, "/vm/a.toml", sets, profiles());
  REQUIRE(document);
  return std::move(*document);
}

Spec spec_of(const std::vector<std::string>& sets) {
  Problems problems;
  Spec spec = read_document(document_of(plain, sets), problems);
  REQUIRE(problems.empty());
  return spec;
}

std::string with_profile(const std::string& name) { return fmt::format("profile = \"{}\"\n{}", name, plain); }

}  // namespace

TEST_CASE("the value without a profile is what the key is where nobody says anything") {
  for (const auto& [pattern, value] : values_without_profile()) {
    std::string key(pattern);
    if (const std::size_t brackets = key.find("[]"); brackets != key.npos) key.replace(brackets, 2, "[0]");
    CAPTURE(key);
    CHECK(spec_of({fmt::format("{}={}", key, value)}) == spec_of({}));
  }
}

TEST_CASE("each key of each profile is compared, or known to decide what the guest is") {
  const std::vector<std::string> others{"balloon.free_page_reporting", "boot.firmware", "boot.secure_boot",
                                        "disk[0].ephemeral", "windows"};
  for (const std::string& name : profile_names()) {
    CAPTURE(name);
    for (const std::string& key : profile_knobs(document_of(with_profile(name))).others)
      CHECK_MESSAGE(std::ranges::find(others, key) != others.end(), key);
  }
}

TEST_CASE(
    "what the profile set is put back key by key; the spec's own word, and what is the same without, are none of it") {
  const auto latency = document_of(with_profile("latency"), {"cpu.pm=true"});
  CHECK(profile_knobs(latency).knobs ==
        std::vector<std::string>{"disk[0].poll_max_ns=\"auto\"", "guest.haltpoll=\"auto\"",
                                 "guest.rq_affinity=\"auto\"", "cpu.siblings=\"prefer\"", "host.energy=\"keep\"",
                                 "host.governor=\"keep\"", "memory.lock=false", "memory.prealloc=\"auto\""});
  CHECK(profile_knobs(document_of(with_profile("throughput"))).knobs ==
        std::vector<std::string>{"disk[0].queue_size=\"auto\"", "guest.rq_affinity=\"auto\"", "guest.sysctls=[]",
                                 "net[0].rx_queue_size=\"auto\"", "memory.prealloc=\"auto\""});
  CHECK(profile_knobs(document_of(plain)).knobs.empty());
}
