// Where the packets of a card of libvirt's networks go: what virsh says of the network, and of the port group that the card is in.
#include <fmt/format.h>

#include <algorithm>

#include "launcher/import/nic_parts.hpp"

namespace launcher::inline import {

namespace {

// What libvirt's network says of those who are in this port group of it: the card's own words win over these.
void group_of(NicWalk& of, const XmlElement& network) {
  const Leaf name = of.at("source/@portgroup");
  const auto groups = network.all("portgroup");
  const auto found = std::ranges::find_if(groups, [&](const XmlElement* one) {
    const std::string* own = one->attribute(name.there() ? "name" : "default");
    return own != nullptr && *own == (name.there() ? name.value() : "yes");
  });
  const XmlElement* group = found == groups.end() ? nullptr : *found;
  const XmlElement* vlan = group != nullptr ? group->find("vlan") : nullptr;
  if (vlan == nullptr) vlan = network.find("vlan");
  if (vlan != nullptr && vlan->all("tag").size() == 1 && vlan->attribute("trunk") == nullptr)
    if (const std::string* id = vlan->find("tag")->attribute("id")) of.group_vlan = number_of(*id).value_or(0);
  for (const auto& [side, average] : {std::pair("inbound", &of.group_in), {"outbound", &of.group_out}})
    if (const XmlElement* rate = group != nullptr ? group->find(std::string("bandwidth/") + side) : nullptr)
      if (const std::string* text = rate->attribute("average")) *average = number_of(*text).value_or(0);
  const bool whole =
      group == nullptr || (group->find("virtualport") == nullptr && (vlan == nullptr || of.group_vlan > 0));
  name.tell(group == nullptr ? Verb::dropped
            : whole          ? Verb::kept
                             : Verb::dropped,
            group == nullptr ? "the network has no such group"
            : whole          ? "its VLAN and bandwidth, where it has any"
                             : "a trunk, or a port of Open vSwitch, is none of vmrun's");
}

}  // namespace

void network_of(NicWalk& of) {
  const Leaf network = of.at("source/@network"), bridge = of.at("source/@bridge"), type = of.at("@type");
  const auto asked = parse_xml(of.walk.options.network ? of.walk.options.network(network.value()) : "");
  const auto said = [&](const char* way, const char* key) {
    const XmlElement* element = asked ? asked->find(way) : nullptr;
    const std::string* value = element != nullptr ? element->attribute(key) : nullptr;
    return value != nullptr ? *value : std::string();
  };
  const std::string of_network = said("bridge", "name"), mode = said("forward", "mode"),
                    below = said("forward/interface", "dev").empty() ? said("forward", "dev")
                                                                     : said("forward/interface", "dev");
  const bool over = of_network.empty() && is_interface_name(below) &&
                    (mode == "bridge" || mode == "private" || mode == "vepa" || mode == "passthrough");
  const std::string name = bridge.there()          ? bridge.value()
                           : !of_network.empty()   ? of_network
                           : network.is("default") ? "virbr0"
                                                   : "";
  const bool known = is_interface_name(name) || over;
  const std::string comment = fmt::format("libvirt's network '{}'", network.value());
  if (over) {
    of.walk.spec.text(of.handle, "over", below, comment);
    of.walk.spec.text(of.handle, "macvtap", mode == "passthrough" ? "passthru" : mode);
  } else if (known) {
    of.walk.spec.text(of.handle, "bridge", name, comment + ": virsh net-start, net-autostart");
  }
  of.tap = known;
  const std::string words =
      over ? fmt::format("{} = \"{}\", as the network has it", of.key("over"), below)
      : known
          ? fmt::format("{} = \"{}\": libvirt's daemon keeps this bridge, with its addresses and NAT", of.key("bridge"),
                        name)
          : "nobody said which bridge it is (--from virsh:NAME asks): mode \"user\" without a way out; set bridge or "
            "over";
  for (const Leaf& leaf : {type, network}) leaf.tell(known ? Verb::changed : Verb::dropped, words);
  bridge.kept(of.key("bridge"));
  if (asked) group_of(of, *asked);
}

}  // namespace launcher::import
