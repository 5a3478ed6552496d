// What to do where there is too little of something. The rule: each way out was tried, and leads to a place.
#include <fmt/format.h>

#include <algorithm>

#include "topology/place_parts.hpp"

namespace topology::parts {

namespace {

struct Way {
  std::string words;
  PlacementRequest request;
};

// Fewer vCPUs: the most of at most this many that have a place.
std::optional<Way> fewer_vcpus(const View& view, PlacementRequest request, unsigned most) {
  constexpr unsigned tries = 16;  // a shape of the user's own leaves few numbers
  if (!request.cells.empty()) return std::nullopt;
  for (unsigned count = most; count > 0 && count + tries > most; --count) {
    request.vcpus = count;
    if (!would_fit(view, request)) continue;
    --request.vcpus;
    const bool also_less = count > 1 && would_fit(view, request);
    return Way{fmt::format("set count = {}{}", count, also_less ? " or less" : ""), {}};
  }
  return std::nullopt;
}

std::vector<Way> other_ways(const PlacementRequest& asked) {
  std::vector<Way> ways;
  const auto add = [&](std::string words, auto change) {
    PlacementRequest request = asked;
    change(request);
    if (request != asked) ways.push_back({std::move(words), std::move(request)});
  };
  add("set host_l3 = \"auto\": cores of the other L3s then do as well",
      [](PlacementRequest& r) { r.l3.reset(), r.largest_l3 = false; });
  add("set threads = \"auto\"", [](PlacementRequest& r) { r.threads.reset(); });
  add("set siblings = \"prefer\"", [](PlacementRequest& r) { r.siblings = Siblings::prefer; });
  add("set kind = \"any\", which mixes kinds of cores", [](PlacementRequest& r) { r.kind = CpuKindChoice::any; });
  add("leave out cpu.sockets and cpu.cores", [](PlacementRequest& r) { r.sockets.reset(), r.cores.reset(); });
  add("set emulator = \"auto\": cores of its CPUs are not for vCPUs", [](PlacementRequest& r) { r.emulator.reset(); });
  add("set memory.policy = \"preferred\"", [](PlacementRequest& r) { r.policy = MemoryPolicy::preferred; });
  add("set memory.policy = \"interleave\"", [](PlacementRequest& r) { r.policy = MemoryPolicy::interleave; });
  add("leave out memory.nodes", [](PlacementRequest& r) { r.nodes.clear(); });
  add("set pin = \"off\" to share CPUs", [](PlacementRequest& r) { r.pinning = Pinning::off; });
  add("set pin = \"off\" and siblings = \"prefer\" to share CPUs",
      [](PlacementRequest& r) { r.pinning = Pinning::off, r.siblings = Siblings::prefer; });
  return ways;
}

}  // namespace

std::string help_for_cores(const View& view, unsigned cores, unsigned threads, bool short_of_memory) {
  PlacementRequest asked = view.request;
  if (short_of_memory && asked.cells.empty())
    asked.page = view.host.base_page, asked.memory = mib(2) * view.host.nodes.size();
  std::vector<std::string> words;
  auto fewer = fewer_vcpus(view, asked, std::min(cores * view.threads_per_core, asked.vcpus - 1));
  if (!fewer) fewer = fewer_vcpus(view, asked, std::min(cores * threads, asked.vcpus - 1));
  if (fewer) words.push_back(fewer->words);
  if (!view.taken.vms.empty()) words.emplace_back("stop a VM");
  bool shares = false;  // by the shorter way
  for (const Way& way : other_ways(asked)) {
    const bool off = way.request.pinning == Pinning::off;
    if ((off && shares) || !would_fit(view, way.request)) continue;
    shares = shares || off;
    words.push_back(way.words);
  }
  if (words.empty())
    return "ask for fewer vCPUs and less memory, or for none of these nodes, cores and caches in particular";
  std::string text = words.front();
  for (std::size_t i = 1; i < words.size(); ++i) text += (i + 1 == words.size() ? ", or " : ", ") + words[i];
  return text;
}

}  // namespace topology::parts
