"""Define the grammars of long and of short stories, with ten plots each; template.py explains the notation.

Things from the start of a long story return at its end: a lost thing is found, a promise is kept or broken,
an animal that was freed shows the way home.

In short stories, of five or six sentences, Lily always has a red kite, a grandmother and a friend called Tom.
So the hero's name fixes most repeated words. A small model learns these facts before it learns to copy
earlier words.
"""

from tinyllm.world.template import read_grammar

LONG = read_grammar("""
story: <opening> [2*<plot>|<habit> <plot>]
opening: [4*Once upon a time there was a <child>, who lived in <home>.
    |2*In <home> there lived a <child>.
    |2*There once was a <child>. {hero.His} home was <home>.
    |2*{hero = children} was a {trait = traits} {hero.girl} who lived in <home>.
    |Long ago, a <child> lived in <home>.
    |This is the story of {hero = children}, a {trait = traits} {hero.girl} from {house = houses}
     {landmark = landmarks}.]
child: {trait = traits} {hero = children : intro}
home: {house = houses : a} {landmark = landmarks}
habit: [{hero.He} liked {like = likes}[ and {fond = likes - like}.|, but {fond = likes - like} more.]
    |Nobody liked {like = likes} more than {hero.he} did.]

# Small pieces that many plots use.
Day: [6*One [sunny|windy|misty|warm|cold|quiet|bright|grey] [morning|afternoon|day]
    |On a [warm|cold|golden|rainy] [Monday|Friday|Sunday]
    |Early one [Monday|Friday|Sunday]]
sad: [sad|very sad|small and alone|close to tears]
soon: [Soon|Just then|At that moment|After a while|All at once|Then]
says_hero: [3*said {hero}|3*{hero} said|cried {hero}|whispered {hero}]
answers_hero: [2*said {hero}|{hero} said|2*answered {hero}|{hero} answered|whispered {hero}]
says_friend: [3*said {friend}|3*{friend} said|whispered {friend}|{friend} whispered]
says_helper: [said {helper}|{helper} said|said the {helper.kind}|the {helper.kind} said|cried {helper}]
says_elder: [2*said {hero.his} {elder}|{hero.his} {elder} said|answered {hero.his} {elder}]
asks_friend: [{friend} asked|asked {friend}|{friend} wanted to know|called {friend}]
thanks_helper: [Thank you, {helper}!|You are a true friend, {helper}!|Oh, {helper}, you are so kind!]

# A thing is lost, and found again with the help of an animal.
plot.lost: [{hero.His} favourite toy was|What {hero.he} loved most was|Wherever {hero.he} went, {hero.he}
    carried] a {colour = colours} {thing = things}[, a present from {hero.his} {elder = elders}.| that
    {hero.his} {elder = elders} had made.] <Day>, {hero} took it to {place = places}. [{hero.He} ran and
    jumped|{hero.He} played|{hero.He} sang|{hero.He} danced|{hero.He} looked at the clouds] and forgot the
    time. [When {hero.he} wanted to go home|When {hero.he} looked around|But suddenly], the {thing} was gone!
    {hero.He} searched {wrong = place.spots}, but [found only an old shoe.|there was only a sleepy frog.|found
    nothing.|it was not there.|saw only dry leaves.] [{hero} felt <sad>.|{hero} began to cry.|{hero} did not
    know what to do.] <soon> {helper = place.animals : a} came [by.|along.] <lost_search> "<thanks_helper>"
    <says_hero>. <lost_end>
lost_search: ["[Why are you crying|What is the matter|What has happened|What are you looking for]?" asked
    {helper}. "My {colour} {thing} is lost," <says_hero>. "[I have seen it|I know where it is|Come with me|I
    can help you]," <says_helper>. And there, {nook = place.spots - wrong}, lay the {thing}.
    |"I have lost my {thing}," <says_hero>. "It is {colour}." "Then let us look together," <says_helper>. They
     looked [left and right|here and there|behind every stone|everywhere], and at last they found the {colour}
     {thing} {nook = place.spots - wrong}.]
lost_end: [From that day on, {hero} [took good care of the {thing}.|went to visit the {helper.kind} every
    [Sunday.|Friday.|week.]]
    |That evening, in {house} {landmark}, {hero} told {hero.his} {elder} about {helper} the {helper.kind}.
     "[Two pairs of eyes see more than one|It is good to have friends|It is never wrong to ask for help],"
     <says_elder>.
    |[Lost things are easier to find with a friend.|It is never wrong to ask for help.|Two pairs of eyes see
     more than one.]]

# A thing is lent to a friend, and comes back whole or broken.
plot.lent: {hero.He} had a {colour = colours} {thing = things} and [was very proud of it.|kept it in a
    box.|let nobody touch it.|took it everywhere.|loved it very much.] <Day>, {friend = children - hero}
    [stood at the door.|came to visit.|looked over the fence.|came by.] "May I borrow your {thing}?"
    <asks_friend>. "[Only until tomorrow|Just for one day|I will be very careful|I will take good care of
    it|Please]." {hero} [was silent|thought about it for a long time|looked at the {thing}], and at last
    {hero.he} [said yes.|nodded.|gave it to {friend}.] <outcome_lent>
outcome_lent.returned: The next [morning|day|Sunday] {friend} was back [before breakfast.|with a big smile.|in
    time for tea.] The {colour} {thing} was [as good as new|bright and clean], and beside it lay [a biscuit|a
    bunch of daisies|a red apple|three cherries]. "[Thank you, {hero}|That was the best day of my life|I took
    good care of it]," <says_friend>. "[Come again tomorrow|Next time we will play together|You are a true
    friend]," <answers_hero>. [A thing that is shared makes two friends happy.|Trust is a gift, and {friend}
    had given it back.|The {thing} had gone out alone and come home with a friend.]
outcome_lent.broken: But the next [morning|day|Sunday] {friend} came back [very slowly.|with red eyes.|in
    tears.] The {colour} {thing} was {thing.broken}. "[I fell on the stairs|The wind took it|I sat on it|I
    lost it in the rain|I was not careful]," <says_friend>. "I am so sorry." At first {hero} [was angry|felt
    <sad>]. But {friend} had told the truth, and that is [brave.|never easy.|not easy.] So they asked
    {hero.his} {elder = elders} for {thing.mend}, and together they mended the {thing}. "[Now it is even
    better than before|Now it is our {thing}|It is as good as new]," <answers_hero>. [A {thing} can be mended,
    and so can a friendship.|It is easy to forgive a friend who tells the truth.]

# A thing is found, and goes back to its owner: at once, or after a bad night.
plot.found: <Day>, {hero} went for a walk {place = places : at}. There, {spot = place.spots}, lay a
    {colour = colours} {thing = things}! [It was the most beautiful {thing} in the world.|Nobody was near.|How
    beautiful it was!|It was as good as new.] "[Now it is mine|I will keep it|What luck I have|Nobody will
    know]," thought {hero}. But on the way home {hero.he} met a {friend = children - hero : intro}, who was
    [looking under every stone.|crying.|running up and down.|close to tears.] "[Have you seen my {thing}|Have
    you found a {colour} {thing}|Where is my {thing}]?" <asks_friend>. <outcome_found>
outcome_found.honest: It would have been easy to [say nothing|walk away|keep it]. But {hero} held out the
    {colour} {thing}. "[Here it is|This must be yours|Do not cry]," <answers_hero>. "I found it {spot}."
    {friend} [jumped for joy.|hugged {hero.him}.|laughed and danced.|began to smile.] [They have been friends
    ever since.|From that day on they played with it together.|They walked home hand in hand.] [A friend is
    worth more than a {thing}.|An honest {hero.girl} sleeps well at night.|It is good to be honest.]
outcome_found.late: {hero} [said nothing|walked away|looked at the clouds]. But that night, in {house}
    {landmark}, {hero.he} could not sleep. As soon as it was light, {hero.he} ran to {friend}'s house. "[I am
    sorry|I have to tell you something|Please forgive me]," <says_hero>. "I found your {colour} {thing}
    {spot}, and I wanted to keep it." {friend} [was silent for a while.|was angry at first.|looked at
    {hero.him}.] Then {friend.he} [smiled.|nodded.|held out a hand.|hugged {hero.him}.] [It is never too late
    to be honest.|That night {hero} slept well.|They have been friends ever since.]

# Something good to eat, and a hungry friend.
plot.shared: [On {hero.his} birthday|When {hero.he} came home from school|When {hero.he} had swept the
    house|On the first day of summer], {hero.his} {elder = elders} gave {hero.him} {food = foods : a}. [How
    good it smelled!|How good it looked!|It was all for {hero.him}.] {hero} sat down [in front of the door|in
    the garden|under a tree|by the window|beside the well] to eat. <soon> {friend = children - hero} came
    [by.|along.] "[May I have some|Is there enough for two|What have you got|Is that for me]?" <asks_friend>.
    <outcome_shared>
outcome_shared.generous: "[Of course|Sit down beside me|It is for both of us|Help me to eat it],"
    <answers_hero>, and gave {friend} half of the {food}. They ate and [talked|laughed|sang|told riddles]
    until [nothing was left.|it was dark.|the stars came out.] The next [day|morning|week] it was {hero} who
    was hungry, and {friend} [opened a bag.|came at once.|held out a basket.] "[You shared with me|Half of my
    lunch is yours|Now it is my turn]," <says_friend>. [Kindness comes back like a ball.|Food tastes better
    when it is shared.|Half of the {food} is better than all of it, if a friend has the other half.]
outcome_shared.greedy: "[No|Go away|It is all mine|There is not enough]," <answers_hero>, and ate the {food}
    alone, [down to the last bite|until nothing was left]. That night {hero.his} stomach [hurt.|made strange
    noises.|was as hard as a stone.] Who came to visit with [a cup of tea|three cherries|a funny story|a bunch
    of daisies]? It was {friend}! "[Get well soon|I was afraid for you|This will help you]," <says_friend>.
    {hero} [felt very small.|was sorry.|did not know what to say.] "Next time half of everything is yours,"
    <says_hero>. [And it was.|And {hero.he} kept that promise.|It is lonely to eat alone.]

# A promise is given, and an animal wants to play.
plot.promised: "Will you {promise = promises} [tonight|before dark|for me|today]?" asked {hero.his}
    {elder = elders}. "[I promise|Yes, I promise|Of course, I promise]," said {hero}[, and went out to play.|,
    and off {hero.he} ran.|.] {place = places : At} {hero.he} met {helper = place.animals : a}. "[Come and
    play with me|Let us run a race|Let us play together|Let us build a house of leaves]," <says_helper>. They
    [ran|sang|danced|jumped] and hid {spot = place.spots} until [the sun turned red.|the shadows grew
    long.|the sky was pink.|it was late.] <outcome_promised>
outcome_promised.kept: Then {hero} remembered. "I must go home and {promise}," <says_hero>. "[Just one more
    game|Stay a little longer|Do not go]!" cried {helper}, but {hero} [was already running.|ran like the
    wind.|did not wait.] {hero.He} {promise.done} just [as the first star came out.|in time.|before dark.] "[I
    knew that I could trust you|You are as good as your word|Well done]," <says_elder>. The next day {helper}
    was waiting again, with {helper.gift} for [{hero}|a friend who keeps promises].
outcome_promised.broken: "[It can wait|I have time enough|Just one more game]," thought {hero}. When {hero.he}
    came back to {house} {landmark}, it was night. {promise.sorry}. {hero.His} {elder} [said nothing|only
    looked out of the window|did not laugh], and that was worse than shouting. "[I am so sorry|Please forgive
    me|I broke my promise]," <says_hero>. The next day {hero.he} {promise.done} [before breakfast|without a
    word|at once], and the day after that, too. [A promise is easy to give and hard to keep.|A game can wait,
    but a promise cannot.]

# An animal is freed, and later shows the way home.
plot.freed: {hero.He} was [looking at the clouds|singing a song|playing|walking|sitting] {place = places : at}
    when {hero.he} heard [a small|a thin|a sad|a strange] voice. It was {helper = place.animals : a},
    {trouble = troubles}. "[Do not be afraid|I will help you|Wait|Poor {helper}]," <says_hero>, and {hero.he}
    {trouble.fix}, until the {helper.kind} was free. "[I will not forget this|One day I will help you,
    too|Thank you, {hero}]," <says_helper>. [Weeks went by.|Summer went and winter came.|Time went by.|A year
    went by.] Then, [one evening|one night|late one evening|in the middle of the night], {hero} was lost in
    the [fog|snow|dark|rain]. {hero.He} felt <sad>. <soon> somebody [pulled at|touched] {hero.his} sleeve. It
    was {helper}! "[Follow me|I know the way|Come with me|Now it is my turn]," <says_helper>, and led {hero}
    [step by step|past the dark trees|through the night] to {house} {landmark}. <freed_end>
freed_end: [[No friend is too small.|Kindness always finds its way back.]
    |In the morning there lay, in front of the door, {helper.gift}.
    |"You helped me when I was {trouble}," <says_helper>. "[I did not forget|That is what friends do]."]

# Something difficult is learned.
plot.learned: {hero.He} could [run like the wind|sing like a bird|climb tall trees|tell funny stories|jump
    over a fence], but {hero.he} could not {skill = skills}. <Day>, {hero.he} tried it {skill.where} and
    {skill.fail}. [A bird laughed.|Some children laughed.|{hero.His} face turned red.|{hero} felt <sad>.] "[I
    will never learn it|It is too hard for me|I cannot do it]," <says_hero>. "[I said that too when I was
    small|Nobody can do it at first|You cannot do it yet|All things are hard at first]," <encourages> So
    {hero} tried [in the morning and in the evening.|ten times, and then ten times more.|again and again.|on
    Monday, on Friday and on Sunday.|every day for a week.] And [one day|one fine morning|when nobody was
    looking|at last], {hero} {skill.win}! <learned_end>
encourages: said {hero.his} {elder = elders}. "[Try again|Try a little every day|Just one more time|Do not
    give up]."
learned_end: ["Can you teach me to {skill}?" asked {friend = children - hero}. "[Do not be afraid of the first
    hundred times|It is easy after a hundred times|Of course]," <answers_hero>, and [laughed.|took {friend} by
    the hand.|so {friend} learned it, too.]
    |{hero.His} {elder} [danced for joy.|laughed and cried.|smiled.|hugged {hero.him}.] [Those who fall and
     get up again learn to fly.|It is good to be {trait}, but it is better to try again.|Nobody learns to fly
     in a day.]]

# Two friends make presents in secret.
plot.gift: It was almost the birthday of {friend = children - hero}, who loved everything {colour = colours}.
    {hero} had no money, so {hero.he} made a {thing = things}, and it was {colour} all over. Every
    [morning|evening|afternoon|night] {hero.he} worked [behind a closed door|under the roof|by the light of a
    candle|in the barn|in the kitchen]. "[Will you come out and play|Where have you been|What are you
    doing|Why do you hide]?" <asks_friend>. "[I cannot tell you|Wait and see|It is a secret|Please go away],"
    <answers_hero>. {friend} [felt <sad>.|walked away.|did not ask again.] At last the great day came, and
    {friend} opened the [box|basket|bag]. "[So that was your secret|You made this for me|A {colour} {thing}]!"
    {friend.he} [cried|said|laughed]. <gift_end>
gift_end: ["But I have a secret, too." And {friend.he} held out a {other = colours - colour} {thing}, made for
    {hero}. [How they laughed!|They hugged and laughed.] [Good friends think alike.|The best presents are made
    by hand.]
    |{friend} [smiled all day long|took the {thing} everywhere|did not want any other present], and {hero},
     [tired but happy|as {trait} as ever], [ate three pieces of cake.|sang the birthday song twice.|slept for
     ten hours.] The best presents [cost nothing but time.|are made by hand.]]

# A noise in the night, and what made it.
plot.noise: [One night|Late one night|One dark night|In the middle of the night], {hero} [woke up.|could not
    sleep.|sat up in bed.|opened both eyes.] Something went {noise = noises} {corner = corners}. "A
    {monster = monsters}!" <says_hero>. {noise.Name}, it went again. [At last|After a while|In the end]
    {hero.he} [lit a candle|took a lamp|took a deep breath|jumped out of bed] and went to look. There,
    {corner}, sat {visitor = visitors : a}, [cold and wet.|eating old bread.|hidden in a shoe.|very small and
    very afraid.] "[Please do not send me away|I am so hungry|I was only looking for supper|I am sorry that I
    woke you]," said {visitor}. {hero} [laughed.|sat down on the stairs.|smiled.] "So you are the {monster}!"
    <says_hero>. [They shared a cup of warm milk|They talked until the sun came up|{hero.He} made a bed in an
    old hat|{hero.He} fetched some bread], and in the morning {visitor} gave {hero.him} {visitor.gift}.
    <noise_end>
noise_end: [Now, when something goes {noise} in the night, {hero} just [smiles|turns over] and says: "[Good
    night|Sleep well], {visitor}."
    |[Most monsters are small|Fear grows small] when you [light a candle.|look at it.]
    |The {visitor.kind} still lives {corner}, and the {trait} {hero.girl} is [never lonely.|not afraid of the
     dark any more.]]

# A seed is planted, and there is a long wait.
plot.planted: [In spring|After the winter|On the first warm day], {hero.his} {elder = elders} gave {hero.him}
    {plant = plants : seed}. {hero} planted it {bed = beds}, watered it every [morning|evening|day] and
    waited. [Nothing happened.|A week went by.|Two weeks went by.] "[You have planted a stone|Nothing will
    ever grow there|You will wait for a hundred years]," laughed {friend = children - hero}. "[Shall I dig it
    up|What is the matter with it]?" asked {hero}. "[Give it time|Good things are slow|Wait a little longer],"
    <says_elder>. So {hero} [sang to it|told it stories|sat beside it|told it riddles] and waited. And then,
    one [sunny|misty|warm|quiet|bright|rainy] morning, something [small and green|as thin as a thread|new]
    came out of the ground {bed}! It grew and grew, and by the end of summer {hero} had {plant.grown}. "[I was
    wrong|I am sorry that I laughed|You were right to wait]," <says_friend>. {hero} gave {friend.him} half of
    {plant.share}. [Good things take time.|Those who can wait are given more.|You cannot make a {plant} grow
    by shouting at it.]
""")

SHORT = read_grammar("""
story: <opening> <plot>
opening: [Once there was a {trait = traits} {hero = heroes : intro}[.|, who lived {hero.home}.]
    |Do you know {hero = heroes}, the {trait = traits} {hero.girl} {hero.home}?
    |This happened to {hero = heroes}, a {trait = traits} {hero.girl} of our village.
    |Listen to a story of {hero = heroes}, a {trait = traits} {hero.girl} {hero.home}.]
plot.lost: {hero.His} {hero.toy} went everywhere with {hero.him}, but one <day>, {place = places : at}, it was
    gone. "[I know where it is|Come with me|Do not be sad]," said {helper = place.animals : a}, and there it
    lay, {nook = place.spots}! "[Thank you|You are a true friend|Oh, you are so kind], {helper}!" <says_hero>.
    [Lost things are easier to find with a friend.|It is never wrong to ask for help.|From that day on,
    {hero.he} took good care of the {hero.toy}.]
plot.lent: "May I borrow your {hero.toy}?" asked {friend = hero.friends}[.| one <day>.] {hero} [said
    yes.|nodded.|was silent for a while, and then {hero.he} smiled.] The next [morning|day|Sunday] the
    {hero.toy} was back, as good as new, and beside it lay [a biscuit|a red apple|three cherries|a bunch of
    daisies]. [A thing that is shared makes two friends happy.|Trust is a gift, and {friend} had given it
    back.|"[That was the best day of my life|I took good care of it]," <says_friend>.]
plot.found: {place = places : At}, {hero.he} found a [silver coin|golden ring|glass pearl|tiny bell]. "[Now it
    is mine|Nobody will know|What luck I have]," thought {hero}. But on the way home {hero.he} met
    {friend = hero.friends}, who was [looking under every stone.|close to tears.|running up and down.] "[Here
    it is|Do not cry|This must be yours]," <says_hero>, and {friend} [laughed and danced.|jumped for
    joy.|hugged {hero.him}.] [It is good to be honest.|An honest {hero.girl} sleeps well at night.|A friend is
    worth more than gold.]
plot.shared: On a [warm|cold|golden|rainy] [Monday|Friday|Sunday], {hero.his} {hero.elder} gave {hero.him}
    {food = foods : a}. {hero} sat down [under a tree|in the garden|by the window|beside the well] to eat, and
    {friend = hero.friends} came [by.|along.] "[Is there enough for two|May I have some|What have you got]?"
    {friend.he} asked. "[Sit down beside me|Of course|Half of it is yours]," <says_hero>, and they ate until
    [nothing was left.|it was dark.|the stars came out.] [Food tastes better when it is shared.|It is lonely
    to eat alone.|Kindness comes back like a ball.]
plot.promised: "Will you {promise = promises} [tonight|before dark|for me]?" asked {hero.his} {hero.elder}.
    "[I promise|Of course]," <says_hero>, and went out to play with {friend = hero.friends}<promised_end>
plot.freed: One <day>, {hero.he} heard a [small|thin|sad|strange] voice {place = places : at}: it was
    {helper = place.animals : a}, {trouble = traps}. "[Do not be afraid|I will help you|Wait]," <says_hero>,
    and {hero.he} {trouble.fix}. [Weeks|Months|Years] later {hero} was lost in the [fog|snow|dark|rain], and
    who [led|brought|guided] {hero.him} home? It was {helper}! [No friend is too small.|Kindness always finds
    its way back.|"That is what friends do," said {helper}.]
plot.learned: {hero.He} could [run like the wind|sing like a bird|climb tall trees|tell funny stories], but
    {hero.he} could not {skill = skills}. One <day>, {hero.he} tried it {skill.where} and {skill.fail}. "[Try
    again|Try a little every day|Do not give up|Just one more time]," <says_elder>. And [one day|at last|when
    nobody was looking], {hero} {skill.win}! [Nobody learns to fly in a day.|Those who fall and get up again
    learn to fly.|All things are hard at first.]
plot.gift: It was almost the birthday of {friend = hero.friends}, who loved everything {friend.colour}. Every
    [morning|evening|afternoon|night] {hero} worked [behind a closed door|by the light of a candle|in the
    barn|under the roof], and told [nobody.|no one why.] At last {friend} opened the [box|basket|bag], and
    there was a {friend.colour} {thing = things}! [How they laughed!|How beautiful it was!|They hugged and
    laughed.] The best presents [cost nothing but time.|are made by hand.|begin with a secret.]
plot.noise: [Late one night|At midnight|Deep in the night], something went {noise = noises} [behind the
    stove.|under the stairs.|in the kitchen.|under the roof.] "A {monster = monsters}!" [whispered|cried|said]
    {hero}. [At last|After a while|In the end] {hero.he} [lit a candle|took a lamp|took a deep breath] and
    went to look, and there sat {visitor = visitors : a}, [cold and wet.|eating old bread.|hidden in a
    shoe.|very small and very afraid.] "So you are the {monster}!" {hero.he} said, and [they shared a cup of
    warm milk.|made a bed in an old hat.|they talked until the sun came up.] [Most monsters are small|Fear
    grows small] when you [light a candle.|look at it.]
plot.planted: When the [snow|winter|ice] was gone, {hero.his} {hero.elder} gave {hero.him}
    {plant = plants : seed}. {hero} planted it [behind the house|under the window|beside the well|near the
    gate], [sang to it|told it stories|told it riddles] and waited. "[Nothing will ever grow there|You have
    planted a stone|You will wait for a hundred years]," laughed {friend = hero.friends}. But one
    [sunny|misty|quiet|rainy] morning something [small and green|as thin as a thread] came out of the ground,
    and by the end of summer {hero} had {plant.grown}! [Good things take time.|You cannot make a {plant} grow
    by shouting at it.|And {friend} got half of {plant.share}.]

# Small pieces that many plots use.
day: [sunny|windy|misty|warm|cold|quiet] [morning|afternoon|day]
says_hero: [2*said {hero}|{hero} said]
says_friend: [2*said {friend}|{friend} said]
says_elder: [2*said {hero.his} {hero.elder}|{hero.his} {hero.elder} said]
promised_end: [. "[Stay a little longer|Just one more game|Do not go]!" cried {friend.he}, but {hero} [ran
    like the wind.|was already running.|did not wait.] {hero.He} {promise.done} [in time.|just before dark.|as
    the first star came out.] "[Well done|You are as good as your word|I knew that I could trust you],"
    <says_elder>.
    |[ and forgot the time.| until it was night.] {promise.sorry}. "[I am so sorry|Please forgive me],"
     <says_hero>, and the next day {hero.he} {promise.done} [before breakfast.|at once.|without a word.] [A
     game can wait, but a promise cannot.|A promise is easy to give and hard to keep.]]
""")

RULES = {"long": LONG, "short": SHORT}
