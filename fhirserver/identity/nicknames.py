"""Given names that people are called by instead of others, and ways to write one in Latin letters."""

from __future__ import annotations

from typing import Final

from fhirserver.identity.text import plain

_GROUPS: Final = """
alexander alex sasha sandro alec aleksandr
alexandra alex sasha sandra aleksandra
andrew andy drew andreas andrei
anthony tony anton antonio
barbara barb babs
benjamin ben benny
catherine cathy kate katie kathryn katherine kathleen
charles charlie chuck carl karl carlos
christopher chris christoph
christina chris tina christine
daniel dan danny
david dave davy
deborah deb debbie debra
dorothy dot dolly dottie
edward ed eddie ted ned
elizabeth liz lizzie beth betty eliza elisabeth lisa elise
emily em emilia
francis frank franz francisco paco
frederick fred freddie friedrich fritz
gabriel gabe
gregory greg
hannah hanna johanna
henry harry hank heinrich
isabella bella isabel izzy
jacob jake jakob
jacqueline jackie
james jim jimmy jamie jaime
jennifer jen jenny
jessica jess jessie
john jack johnny jon johann johannes hans
jonathan jon jonny
joseph joe joey josef jose pepe
joshua josh
katarina katja kata
lawrence larry laurence lars
leonard leo len lenny
lucas luke lukas
margaret maggie meg peggy margarete greta rita
mary molly polly
matthew matt matthias mathew
michael mike mick mikey michel miguel misha mikhail
natalie nat natasha natalia
nicholas nick nicky nikolai nikolas klaus
oliver ollie
olivia liv
pamela pam
patricia pat patty tricia trish
patrick pat paddy
peter pete petr pedro
philip phil filip phillip
rebecca becky becca rebekah
richard rick dick rich ricky
robert bob rob bobby robbie roberto
ronald ron ronnie
samantha sam
samuel sam sammy
sarah sara sally
stephen steve steven stefan stephan
susan sue susie suzanne
theodore ted theo fyodor
theresa terry tess teresa
thomas tom tommy tomas
timothy tim timmy
valerie val
victoria vicky tori
vladimir vova volodymyr
william bill will billy liam wilhelm
zachary zach zack zac
mohammed muhammad mohamed mohammad mohamad mehmet
ahmed ahmad ahmet
hussein hussain husain husayn
fatima fatimah fatma
youssef yusuf yousef yousuf
sergei sergey serge
aleksei alexei aleksey alexey
yulia julia iulia
dmitry dmitri dmitrii
ioannis yannis giannis
giorgos georgios george
"""


def _index() -> dict[str, frozenset[int]]:
    found: dict[str, set[int]] = {}
    for number, line in enumerate(_GROUPS.split("\n")):
        for name in line.split():
            found.setdefault(plain(name), set()).add(number)
    return {name: frozenset(groups) for name, groups in found.items()}


_GROUPS_OF: Final = _index()


def same_person(a: str, b: str) -> bool:
    """Whether somebody may be called both; of plain names."""
    return not _GROUPS_OF.get(a, frozenset()).isdisjoint(_GROUPS_OF.get(b, frozenset()))


def is_nickname(name: str) -> bool:
    return name in _GROUPS_OF
