// The keys of [guest], and the settings that they become for this VM's cards.
#include "launcher/devices/guest.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <sstream>

#include "launcher/devices/credential.hpp"
#include "launcher/devices/device_context.hpp"
#include "launcher/devices/guest_settings.hpp"
#include "launcher/text/printable.hpp"
#include "launcher/text/toml_reader.hpp"

namespace launcher::inline devices {

namespace {

constexpr const char* set_names = "\"guide 004\"";

bool is_name(const std::string& text, std::string_view more) {
  return !text.empty() && text.size() <= 200 && std::isalnum(static_cast<unsigned char>(text[0])) != 0 &&
         std::ranges::all_of(text, [&](unsigned char c) {
           return std::isalnum(c) != 0 || more.find(static_cast<char>(c)) != more.npos;
         });
}

std::string with_single_blanks(const std::string& text) {
  std::istringstream words(text);
  std::string line;
  for (std::string word; words >> word;) line += (line.empty() ? "" : " ") + word;
  return line;
}

// "NAME = VALUE"
std::optional<std::pair<std::string, std::string>> sysctl_of(const std::string& line) {
  const std::size_t sign = line.find('=');
  if (sign == line.npos) return std::nullopt;
  const std::string name = with_single_blanks(line.substr(0, sign)), value = with_single_blanks(line.substr(sign + 1));
  const bool plain = std::ranges::all_of(line, [](unsigned char c) { return c == '\t' || (c >= 0x20 && c < 0x7f); });
  const bool inside = name.find("..") == name.npos && name.find("//") == name.npos && name.find("/.") == name.npos;
  if (!is_name(name, "._-/") || !inside || name.find_first_of("./") == name.npos || value.empty() || !plain ||
      value.size() > 500)
    return std::nullopt;
  return std::pair(name, value);
}

void read_sysctls(TableReader& table, Guest& guest) {
  const bool one_set = table.is_text("sysctls", "guide 004");
  std::vector<std::string> lines = one_set ? std::vector<std::string>{"guide 004"} : table.texts("sysctls");
  for (std::size_t i = 0; i < lines.size(); ++i) {
    if (const std::vector<std::string> set = sysctl_set(lines[i]); !set.empty()) {
      for (const std::string& line : set) guest.sysctls.push_back(*sysctl_of(line));
    } else if (auto one = sysctl_of(lines[i])) {
      guest.sysctls.push_back(std::move(*one));
    } else {
      table.problem(
          one_set ? "sysctls" : fmt::format("sysctls[{}]", i),
          fmt::format("\"{}\" is no sysctl; wanted \"NAME = VALUE\" or a set's name",
                      printable(lines[i].substr(0, 64))),
          fmt::format("write entries such as \"vm.max_map_count = 262144\"; the set there is: {}", set_names));
    }
  }
}

void read_files(TableReader& table, Guest& guest) {
  const auto number = [&](const char* key, std::int64_t most) {
    if (const auto value = table.integer_or_auto(key, 0, most)) guest.files.emplace_back(key, std::to_string(*value));
  };
  const auto word = [&](const char* key, const std::vector<std::string>& choices) {
    if (const std::size_t chosen = table.choice(key, choices, 0); chosen > 0)
      guest.files.emplace_back(key, choices[chosen]);
  };
  number("rq_affinity", 2);
  number("haltpoll", 10'000'000);
  word("clocksource", {"auto", "tsc", "kvm-clock", "hpet", "acpi_pm", "hyperv_clocksource_tsc_page"});
  number("swappiness", 200);
  number("hugepages", 1 << 30);
  word("transparent_hugepages", {"auto", "always", "madvise", "never"});
}

// The settings of one plan, none of them twice.
class Settings {
 public:
  explicit Settings(DeviceContext& context) : context_(context), all_(context.results.guest) {}

  void add(const std::string& key, const std::string& what, const std::string& wanted, const std::string& how,
           std::vector<std::string> at) {
    for (const GuestSetting& one : all_)
      if (one.how == how && one.at == at) {
        if (one.wanted != wanted)
          context_.problem(key,
                           fmt::format("{} = {}, and {} = {} by {}; wanted one value", what, printable(wanted), what,
                                       printable(one.wanted), one.key),
                           "remove one of them");
        return;
      }
    all_.push_back({"guest." + key, what, wanted, how, std::move(at)});
  }

 private:
  DeviceContext& context_;
  std::vector<GuestSetting>& all_;
};

void add_cards(const Guest& guest, DeviceContext& context, Settings& settings) {
  std::vector<std::string> macs;
  for (std::size_t i = 0; i < context.results.cards.size(); ++i) {
    const PlannedCard& card = context.results.cards[i];
    macs.push_back(card.mac);
    if (guest.queues && *guest.queues > card.queues)
      context.problem(
          "queues",
          fmt::format("{}, but net[{}] has {}; wanted at most what each card has", *guest.queues, i, card.queues),
          fmt::format("set guest.queues = \"auto\", or net.queues = {} there", *guest.queues));
    const unsigned queues = guest.queues.value_or(std::min(card.queues, context.vcpus));
    if (card.queues > 1)
      settings.add("queues", "combined channels of " + card.mac, std::to_string(queues), "channels", {card.mac});
    if (guest.mtu && card.mtu && *guest.mtu > *card.mtu)
      context.problem(
          "mtu", fmt::format("{}, but net[{}] carries {}; wanted at most that", *guest.mtu, i, *card.mtu),
          fmt::format("set guest.mtu = \"auto\", or give the host's side as much: net.mtu = {}", *guest.mtu));
    if (const auto mtu = guest.mtu ? guest.mtu : card.mtu)
      settings.add("mtu", "MTU of " + card.mac, std::to_string(*mtu), "mtu", {card.mac});
  }
  if (!guest.irqs) return;
  if (!topology::CpuSet::range(0, context.vcpus - 1).contains(*guest.irqs))
    context.problem("irqs",
                    fmt::format("{} is not within the guest's vCPUs; wanted some of 0-{}", guest.irqs->to_string(),
                                context.vcpus - 1),
                    "name vCPUs as the guest counts them, or remove it: each queue then has its own");
  else if (!macs.empty())
    settings.add("irqs", "interrupts of its cards", guest.irqs->to_string(), "interrupts", macs);
}

void add_files(const Guest& guest, DeviceContext& context, Settings& settings) {
  for (const auto& [name, value] : guest.sysctls) settings.add("sysctls", name, value, "file", {sysctl_path(name)});
  for (const auto& [key, value] : guest.files) {
    const auto file = std::ranges::find(guest_files(), key, &GuestFile::key);
    std::istringstream paths{std::string(file->path)};
    std::vector<std::string> at;
    for (std::string path; paths >> path;) at.push_back(path);
    settings.add(key, std::string(file->what), value, "file", at);
    if (key != "haltpoll" || value == "0") continue;
    settings.add(key, "idle= on its boot line", "none", "bootword", {"idle="});
    if (context.kvm) settings.add(key, "driver of idle vCPUs", "haltpoll", "driver", {});
  }
  if (!guest.tuned.empty()) settings.add("tuned", "tuned's profile", guest.tuned, "tuned", {});
}

}  // namespace

Guest Guest::read(TableReader& table) {
  Guest guest;
  if (const auto queues = table.integer_or_auto("queues", 1, 256)) guest.queues = static_cast<unsigned>(*queues);
  if (const auto mtu = table.integer_or_auto("mtu", 68, 65535)) guest.mtu = static_cast<unsigned>(*mtu);
  read_sysctls(table, guest);
  read_files(table, guest);
  if (std::string tuned = table.text("tuned", "auto"); tuned != "auto") {
    if (!is_name(tuned, "-_."))
      table.problem(
          "tuned",
          fmt::format("\"{}\" can name no profile of tuned's; wanted one of its names", printable(tuned.substr(0, 64))),
          "take one that `tuned-adm list` shows in the guest, such as \"virtual-guest\"");
    guest.tuned = std::move(tuned);
  }
  guest.irqs = table.cpus_or_auto("irqs");
  return guest;
}

Guest::Facts look_at(const Guest&) { return {}; }
Guest::Facts assumed(const Guest&) { return {}; }
DeviceNeeds needs(const Guest&, const Guest::Facts&, unsigned) { return {}; }

// tmpfiles.extra is cloud_init's, too, which is planned after this and takes these lines with its own.
void plan_device(const Guest& guest, const Guest::Facts&, DeviceContext& context) {
  Settings settings(context);
  add_cards(guest, context, settings);
  add_files(guest, context, settings);
  const std::vector<GuestSetting>& all = context.results.guest;
  std::map<std::string, std::string> credentials = guest_credentials(all);
  if (const std::string lines = guest_tmpfiles(all); !context.has_cloud_init && !lines.empty())
    credentials["tmpfiles.extra"] = lines;
  for (const auto& [name, text] : credentials)
    if (!add_made_credential(context, name, {{.text = text}}, "the guest's half, for its systemd", "spec guest"))
      context.notes.push_back(fmt::format("guest: the spec's own credential {} stands; what it does not say {}", name,
                                          context.has_cloud_init || context.has_agent
                                              ? "goes by the other ways"
                                              : "is not set: there is no other way"));
  context.notes.push_back(fmt::format(
      "guest: {} settings, by systemd's credentials{}{}{}", all.size(), context.has_cloud_init ? ", cloud-init" : "",
      context.has_agent ? ", the agent" : "", context.has_agent ? "" : "; without [agent] none can be read back"));
}

}  // namespace launcher::devices
