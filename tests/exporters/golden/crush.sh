# Providers for crush, written by nbllm. To use them, put this line into crushrc:
#   source ~/.config/crush/nbllm.sh

provider add groq --name Groq --type openai-compat --base-url https://api.groq.com/openai/v1 --api-key "$GROQ_API_KEY"
model add groq/meta-llama/llama-4-scout:free@v1 --name 'Llama 4 "Scout" '"'"'free'"'"'' --context-window 131072 --default-max-tokens 8192 --can-reason false --supports-images true --price-input 0.11 --price-output 0.34 --price-cache-hit 0.055
model add 'groq/größe-модель-模型' --name 'größe-модель-模型' --context-window 32768
model add 'groq/quote"d '"'"'and'"'"' \ back$(id)`x`' --name 'quote"d '"'"'and'"'"' \ back$(id)`x`'
model add groq/unknown --name unknown
model add groq/free --name free --context-window 200 --default-max-tokens 100 --price-input 0 --price-output 0
model add groq/tiny-price --name tiny-price --can-reason true --price-input 1.5e-07 --price-output 1e-07
model add groq/yes --name yes
model add groq/1.10 --name 1.10

provider add openai --name OpenAI --type openai --base-url https://api.openai.com/v1 --api-key "$OPENAI_API_KEY"
model add openai/gpt-5 --name gpt-5 --context-window 400000 --default-max-tokens 128000 --price-input 1.25 --price-output 10

provider add chat-only --name 'Chat: only # one' --type openai-compat --base-url https://api.chat-only.example/v1 --api-key "$CHAT_ONLY_API_KEY"
model add chat-only/m --name m

provider add anthropic --name Anthropic --type anthropic --base-url https://api.anthropic.com --api-key "$ANTHROPIC_API_KEY"
model add anthropic/claude-x --name claude-x --context-window 200000 --default-max-tokens 64000

provider add ollama --name Ollama --type openai-compat --base-url http://127.0.0.1:11434/v1
model add ollama/llama3.2:1b --name llama3.2:1b

provider add vllm --name vLLM --type openai-compat --base-url http://127.0.0.1:8000/v1
model add vllm/Qwen/Qwen3 --name Qwen/Qwen3 --context-window 32768

provider add azure --name Azure --type openai-compat --base-url https://api.azure.example/v1 --extra-header api-key "$AZURE_API_KEY"
model add azure/deployed --name deployed

provider add baseten --name baseten --type openai-compat --base-url https://api.baseten.example/v1 --extra-header Authorization "Api-Key $BASETEN_API_KEY"
model add baseten/b/c --name b/c

provider add empty --name empty --type openai-compat --base-url https://api.empty.example/v1 --api-key "$EMPTY_API_KEY"
