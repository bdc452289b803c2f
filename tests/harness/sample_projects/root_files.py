"""Projects whose files lie at their root, and several projects in one repository."""

from harness.sample_projects.project import WORKFLOW, SampleProject

# A single file, with the packages in requirements.txt.
EXAMPLE = SampleProject(
    {
        "agent.py": WORKFLOW.format(imports="", word="single"),
        "requirements.txt": "no-such-package\n",
    },
    {"dependencies": ["."], "graphs": {"agent": "./agent.py:graph"}, "env": ".env"},
    {"agent": "ai single"},
)

# The dependency is the package itself, whose code imports itself by its name.
SELF_IMPORTING = SampleProject(
    {
        "my_agent/__init__.py": "",
        "my_agent/requirements.txt": "no-such-package\n",
        "my_agent/utils/__init__.py": "",
        "my_agent/utils/nodes.py": 'WORD = "self"\n',
        "my_agent/agent.py": WORKFLOW.format(
            imports="from my_agent.utils.nodes import WORD", word="self"
        ),
    },
    {
        "dependencies": ["./my_agent"],
        "graphs": {"agent": "./my_agent/agent.py:graph"},
        "env": [],
        "python_version": "3.11",
    },
    {"agent": "ai self"},
)

# Several projects in one repository; here their packages have the same name, which Python gives to the first.
MONOREPO = SampleProject(
    {
        f"all/{project}/agent/{file}": text
        for project in ("one", "two")
        for file, text in {
            "__init__.py": "",
            "main.py": "from agent.utils.build import workflow\n\ngraph = workflow.compile()\n",
            "utils/__init__.py": "",
            "utils/build.py": WORKFLOW.format(imports="", word=project),
        }.items()
    },
    {
        "dependencies": ["./all/one", "./all/two"],
        "graphs": {
            "first": "./all/one/agent/main.py:graph",
            "second": "./all/two/agent/main.py:graph",
        },
        "env": "./.env",
    },
    {"first": "ai one", "second": "ai two"},
)

# A file beside a package of its own and a `utils.py`, with subgraphs as agents that hand over to each other.
SWARM = SampleProject(
    {
        "research_agent/__init__.py": (
            "from research_agent.prompts import WORD\nfrom research_agent.tools import think\n"
        ),
        "research_agent/prompts.py": 'WORD = "swarm"\n',
        "research_agent/tools.py": "def think(text: str) -> str:\n    return text\n",
        "utils.py": "raise RuntimeError('is for a notebook')\n",
        "agent.py": """
            from langgraph.graph import START, MessagesState, StateGraph
            from langgraph.types import Command
            from research_agent.prompts import WORD
            from research_agent.tools import think

            class State(MessagesState):
                active: str

            def planner(state: State) -> Command:
                return Command(goto="researcher", graph=Command.PARENT, update={"active": "researcher"})

            def researcher(state: State) -> dict:
                return {"messages": ["ai " + think(WORD)]}

            def single(node):
                return StateGraph(State).add_node("node", node).add_edge(START, "node").compile()

            def make_agent(config: dict):
                builder = StateGraph(State)
                builder.add_node("planner", single(planner), destinations=("researcher",))
                builder.add_node("researcher", single(researcher))
                builder.add_edge(START, "planner")
                return builder

            agent = make_agent({})
        """,
    },
    {
        "dependencies": ["."],
        "graphs": {
            "research": "./agent.py:agent",
            "made": "./agent.py:make_agent",
            "named": "agent:agent",
        },
        "env": ".env",
    },
    {"research": "ai swarm", "made": "ai swarm", "named": "ai swarm"},
)
