#include "launcher/facts/card_settings.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <memory>
#include <utility>
#include <vector>

#include "launcher/host/fd.hpp"

namespace launcher::inline facts {

namespace {

using Settings = std::map<std::string, std::string>;
using Numbers = std::vector<std::pair<const char*, std::uint32_t>>;

class Card {
 public:
  explicit Card(const std::string& interface)
      : socket_(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)), interface_(interface) {}

  // False: the driver does not know, or there is no such interface.
  bool ask(void* about) const {
    ifreq request{};
    interface_.copy(request.ifr_name, IFNAMSIZ - 1);
    request.ifr_data = static_cast<char*>(about);
    return socket_.get() >= 0 && interface_.size() < IFNAMSIZ && ioctl(socket_.get(), SIOCETHTOOL, &request) == 0;
  }
  template <class Answer>
  bool ask(std::uint32_t command, Answer& answer) const {
    answer.cmd = command;
    return ask(&answer);
  }

 private:
  Fd socket_;
  std::string interface_;
};

// A structure that ends in an array of so many bytes; zeroed, and as aligned as operator new makes it.
template <class Head>
class WithTail {
 public:
  explicit WithTail(std::size_t bytes) : room_(std::make_unique<std::byte[]>(sizeof(Head) + bytes)) {}
  Head* operator->() { return reinterpret_cast<Head*>(room_.get()); }
  Head& operator*() { return *operator->(); }
  // Of its array, which the kernel's header may say has no members.
  template <class Item>
  Item item(std::size_t index) const {
    Item found{};
    std::memcpy(&found, room_.get() + sizeof(Head) + index * sizeof(Item), sizeof(Item));
    return found;
  }

 private:
  std::unique_ptr<std::byte[]> room_;
};

using Name = std::array<char, ETH_GSTRING_LEN>;

std::vector<std::string> names_of(const Card& card, ethtool_stringset set) {
  WithTail<ethtool_sset_info> count(sizeof(std::uint32_t));
  count->sset_mask = std::uint64_t{1} << set;
  if (!card.ask(ETHTOOL_GSSET_INFO, *count) || count->sset_mask == 0) return {};
  const std::size_t many = std::min<std::uint32_t>(count.item<std::uint32_t>(0), 1024);
  WithTail<ethtool_gstrings> texts(many * ETH_GSTRING_LEN);
  texts->string_set = set;
  texts->len = static_cast<std::uint32_t>(many);
  if (many == 0 || !card.ask(ETHTOOL_GSTRINGS, *texts)) return {};
  std::vector<std::string> names;
  for (std::size_t i = 0; i < many; ++i) {
    const Name name = texts.item<Name>(i);
    names.emplace_back(name.data(), strnlen(name.data(), name.size()));
  }
  return names;
}

// "rx 512, tx 512": those that are not 0
void put(Settings& settings, const char* name, const Numbers& numbers) {
  std::vector<std::string> parts;
  for (const auto& [part, number] : numbers)
    if (number != 0) parts.push_back(fmt::format("{} {}", part, number));
  if (!parts.empty()) settings[name] = fmt::format("{}", fmt::join(parts, ", "));
}

void driver(const Card& card, Settings& settings) {
  ethtool_drvinfo info{};
  if (!card.ask(ETHTOOL_GDRVINFO, info)) return;
  const auto text = [](const auto& field) { return std::string(field, strnlen(field, sizeof field)); };
  settings["driver"] = text(info.driver);
  if (const std::string firmware = text(info.fw_version); !firmware.empty() && firmware != "N/A")
    settings["firmware"] = firmware;
}

void rings_and_queues(const Card& card, Settings& settings) {
  ethtool_ringparam rings{};
  if (card.ask(ETHTOOL_GRINGPARAM, rings))
    put(settings, "rings",
        {{"rx", rings.rx_pending},
         {"rx mini", rings.rx_mini_pending},
         {"rx jumbo", rings.rx_jumbo_pending},
         {"tx", rings.tx_pending}});
  ethtool_channels queues{};
  if (card.ask(ETHTOOL_GCHANNELS, queues))
    put(settings, "queues",
        {{"rx", queues.rx_count},
         {"tx", queues.tx_count},
         {"combined", queues.combined_count},
         {"other", queues.other_count}});
}

// Where the driver adapts them to the load, the moment's values say nothing.
void coalescing(const Card& card, Settings& settings) {
  ethtool_coalesce now{};
  if (!card.ask(ETHTOOL_GCOALESCE, now)) return;
  const auto unless = [](std::uint32_t adaptive, std::uint32_t value) { return adaptive != 0 ? 0 : value; };
  put(settings, "coalescing",
      {{"adaptive-rx", now.use_adaptive_rx_coalesce},
       {"adaptive-tx", now.use_adaptive_tx_coalesce},
       {"rx-usecs", unless(now.use_adaptive_rx_coalesce, now.rx_coalesce_usecs)},
       {"rx-frames", unless(now.use_adaptive_rx_coalesce, now.rx_max_coalesced_frames)},
       {"rx-usecs-irq", now.rx_coalesce_usecs_irq},
       {"rx-frames-irq", now.rx_max_coalesced_frames_irq},
       {"tx-usecs", unless(now.use_adaptive_tx_coalesce, now.tx_coalesce_usecs)},
       {"tx-frames", unless(now.use_adaptive_tx_coalesce, now.tx_max_coalesced_frames)},
       {"tx-usecs-irq", now.tx_coalesce_usecs_irq},
       {"tx-frames-irq", now.tx_max_coalesced_frames_irq}});
}

void offloads(const Card& card, Settings& settings) {
  const std::vector<std::string> names = names_of(card, ETH_SS_FEATURES);
  const std::size_t blocks = (names.size() + 31) / 32;
  WithTail<ethtool_gfeatures> features(blocks * sizeof(ethtool_get_features_block));
  features->size = static_cast<std::uint32_t>(blocks);
  if (names.empty() || !card.ask(ETHTOOL_GFEATURES, *features)) return;
  for (std::size_t i = 0; i < names.size(); ++i)
    if (!names[i].empty() && (features.item<ethtool_get_features_block>(i / 32).active >> i % 32 & 1) != 0)
      settings["offload " + names[i]] = "on";
}

void flags(const Card& card, Settings& settings) {
  ethtool_value flags{};
  if (!card.ask(ETHTOOL_GPFLAGS, flags)) return;
  const std::vector<std::string> names = names_of(card, ETH_SS_PRIV_FLAGS);
  for (std::size_t i = 0; i < std::min<std::size_t>(names.size(), 32); ++i)
    if (!names[i].empty()) settings["driver's flag " + names[i]] = (flags.data >> i & 1) != 0 ? "on" : "off";
}

void link(const Card& card, Settings& settings) {
  ethtool_pauseparam pause{};
  if (card.ask(ETHTOOL_GPAUSEPARAM, pause))
    settings["flow control"] = fmt::format("autoneg {}, rx {}, tx {}", pause.autoneg != 0 ? "on" : "off",
                                           pause.rx_pause != 0 ? "on" : "off", pause.tx_pause != 0 ? "on" : "off");
  ethtool_eee saving{};
  if (card.ask(ETHTOOL_GEEE, saving)) settings["energy-efficient Ethernet"] = saving.eee_enabled != 0 ? "on" : "off";
}

}  // namespace

std::map<std::string, std::string> card_settings(const std::string& interface) {
  const Card card(interface);
  Settings settings;
  for (const auto read : {driver, rings_and_queues, coalescing, offloads, flags, link}) read(card, settings);
  return settings;
}

}  // namespace launcher::facts
