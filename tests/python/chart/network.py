"""What NetworkPolicies let through, by the rules of their API: as much of it as the chart uses."""

import dataclasses


@dataclasses.dataclass
class Packet:
    """A connection of or to the pod with the labels `pod`, in a namespace labelled `own`; the other end is `peer_pod` in a
    namespace labelled `peer_namespace`. `port` is the destination's: its name for pods' ports, else its number."""

    pod: dict
    peer_namespace: dict
    peer_pod: dict
    port: str | int
    own: dict


def lets_through(policies, direction, packet):
    """Whether a connection may be: where no policy of the direction chooses the pod, everything may."""
    chosen = [
        policy["spec"]
        for policy in policies
        if matches(policy["spec"]["podSelector"], packet.pod) and direction in policy["spec"]["policyTypes"]
    ]
    side = {"Ingress": "from", "Egress": "to"}[direction]
    rules = [rule for spec in chosen for rule in spec.get(direction.lower()) or []]
    return not chosen or any(allows(rule, side, packet) for rule in rules)


def allows(rule, side, packet):
    # Absent or empty peers and ports stand for all of them.
    peer = not rule.get(side) or any(is_peer(peer, packet) for peer in rule[side])
    port = not rule.get("ports") or any(port.get("port", packet.port) == packet.port for port in rule["ports"])
    return peer and port


def is_peer(peer, packet):
    assert "ipBlock" not in peer
    if "namespaceSelector" in peer:
        namespace = matches(peer["namespaceSelector"], packet.peer_namespace)
    else:
        namespace = packet.peer_namespace == packet.own
    return namespace and matches(peer.get("podSelector", {}), packet.peer_pod)


def matches(selector, labels):
    assert set(selector) <= {"matchLabels"}, selector
    return selector.get("matchLabels", {}).items() <= labels.items()
